import torch.nn.functional as F
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS


@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    """Softmax cross entropy, ``-1/n sum_i log p_i,y(i)``.

    L_id of TJ-AIDL (Eq. 1), L_AL of MAR (Eq. 7), where the logits are scaled
    cosines, and the identity loss of the baseline. With label smoothing
    epsilon the true class weighs ``1 - epsilon + epsilon / C`` and each other
    one ``epsilon / C``.

    Args:
        label_smoothing (float): epsilon. Defaults to 0.
        loss_weight (float): Weight. Defaults to 1.
    """

    def __init__(
        self, label_smoothing: float = 0.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise InputError(
                f'label_smoothing must be in [0, 1), but is {label_smoothing}.'
            )
        self.label_smoothing = label_smoothing
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            logits (Tensor): (N, C).
            labels (Tensor): (N, ) int64.

        Returns:
            Tensor: A scalar.
        """
        loss = F.cross_entropy(
            logits, labels, label_smoothing=self.label_smoothing
        )
        return self.loss_weight * loss

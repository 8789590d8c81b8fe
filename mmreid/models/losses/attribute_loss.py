import torch.nn.functional as F
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS


@MODELS.register_module()
class AttributeLoss(nn.Module):
    """Sigmoid cross entropy of m attributes, L_att (Eq. 2 of TJ-AIDL).

    ``L_att = -1/n sum_i sum_j a_ij log p_ij + (1 - a_ij) log(1 - p_ij)``:
    summed over the attributes and averaged over the n images, as printed.
    Unknown attributes (-1) are left out of the sum over j; n counts every
    image. A batch in which nothing is known has loss and gradient 0.

    With the embedding e_IIA for logits it is L_attr,IIA (Eq. 5).

    Args:
        loss_weight (float): Weight. Defaults to 1.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            logits (Tensor): (N, m).
            labels (Tensor): (N, m), 1, 0 or, unknown, -1; or soft labels,
                probabilities in [0, 1].

        Returns:
            Tensor: A scalar.

        Raises:
            InputError: If the shapes differ.
        """
        if logits.shape != labels.shape:
            raise InputError(
                f'The batch has attributes of shape {tuple(labels.shape)}, '
                f'but the model predicts {tuple(logits.shape)}: set '
                'model.num_attributes to the number of attributes of the '
                "source (see its attribute_file and 'age')."
            )
        known = labels >= 0
        total = F.binary_cross_entropy_with_logits(
            logits,
            labels.to(logits) * known,
            weight=known.to(logits),
            reduction='sum',
        )
        return self.loss_weight * (total / len(logits))

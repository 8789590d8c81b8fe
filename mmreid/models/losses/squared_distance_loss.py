from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS


@MODELS.register_module()
class SquaredDistanceLoss(nn.Module):
    """``|x_i - y_i|^2``: L_rec and L_ID-transfer of TJ-AIDL (Eq. 3, 4).

    The paper prints squared norms and calls them mean square errors.

    Args:
        reduction (str): ``'mean'``: over the batch and the length of the
            vector; ``'sum'``: the squared norm, averaged over the batch.
            Defaults to 'mean'.
        loss_weight (float): Weight. Defaults to 1.

    Raises:
        InputError: If there is no such reduction.
    """

    def __init__(
        self, reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        if reduction not in ('mean', 'sum'):
            raise InputError(
                "reduction of SquaredDistanceLoss must be 'mean' or 'sum', "
                f'but is {reduction!r}.'
            )
        self.reduction = reduction
        self.loss_weight = loss_weight

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Loss of a batch, (N, D) and (N, D) -> a scalar."""
        squared = (first - second).square()
        if self.reduction == 'mean':
            return self.loss_weight * squared.mean()
        return self.loss_weight * squared.sum(1).mean()

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreid.registry import MODELS


@MODELS.register_module()
class BatchHardTripletLoss(nn.Module):
    """Triplets of each image's hardest positive and hardest negative.

    Implementation of `In Defense of the Triplet Loss for Person
    Re-Identification <https://arxiv.org/abs/1703.07737>`_, L_BH (Eq. 5):
    ``1/n sum_i [m + max_{j: y_j = y_i} d_ij - min_{j: y_j != y_i} d_ij]_+``
    with the Euclidean distance d. An image without a positive (other than
    itself) or without a negative in the batch is left out; a batch of such
    images alone has loss 0.

    Args:
        margin (float, optional): m; None is the soft margin
            ``log(1 + exp(x))`` in place of ``[m + x]_+``. Defaults to 0.3.
        loss_weight (float): Weight. Defaults to 1.
    """

    def __init__(
        self, margin: float | None = 0.3, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.margin = margin
        self.loss_weight = loss_weight

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            features (Tensor): (N, D).
            labels (Tensor): (N, ) int64.

        Returns:
            Tensor: A scalar.
        """
        # Not by the matrix product, whose cancellation has no gradient to
        # speak of between features that are nearly equal.
        distance = torch.cdist(
            features, features, compute_mode='donot_use_mm_for_euclid_dist'
        )
        same = labels[:, None] == labels
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        positive = same & ~itself
        furthest = distance.masked_fill(~positive, -torch.inf).amax(1)
        nearest = distance.masked_fill(same, torch.inf).amin(1)
        used = positive.any(1) & ~same.all(1)
        difference = torch.where(used, furthest, 0) - torch.where(
            used, nearest, 0
        )
        if self.margin is None:
            terms = F.softplus(difference)
        else:
            terms = (difference + self.margin).relu()
        total = (terms * used).sum()
        return self.loss_weight * total / used.sum().clamp(min=1)

import torch
from torch import Tensor, nn

from mmreid.registry import MODELS


@MODELS.register_module()
class MDLLoss(nn.Module):
    """Multilabel-guided discriminative embedding loss, L_MDL (Eq. 4).

    ``L_MDL = -log(P / (P + N))`` with P and N the means of
    ``exp(-|f_i - f_j|_2^2)`` over the positive and the hard negative pairs.
    Without a positive pair P is 1 and ``-log P`` is 0, without a negative
    one N is 0.5, as in the published code; without any pair the loss is 0.

    Args:
        loss_weight (float): Weight; the paper has none. Defaults to 1.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self, features: Tensor, first: Tensor, second: Tensor, positive: Tensor
    ) -> Tensor:
        """Loss of the mined pairs of a batch.

        Args:
            features (Tensor): Unit-norm target features, (N, D).
            first (Tensor): First image of each pair, (k, ) int64.
            second (Tensor): Second image of each pair, (k, ) int64.
            positive (Tensor): Positive rather than hard negative, (k, ) bool.

        Returns:
            Tensor: A scalar.
        """
        if not len(first):
            return features.sum() * 0
        difference = features[first] - features[second]
        closeness = (-difference.square().sum(1)).exp()

        def mean(mask: Tensor, empty: float) -> Tensor:
            weight = mask.to(closeness)
            total = weight.sum()
            value = (closeness * weight).sum() / total.clamp(min=1)
            return torch.where(total > 0, value, empty)

        p_bar = mean(positive, 1.0)
        n_bar = mean(~positive, 0.5)
        return self.loss_weight * ((p_bar + n_bar).log() - p_bar.log())

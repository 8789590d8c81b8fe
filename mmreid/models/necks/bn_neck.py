from torch import Tensor, nn

from mmreid.registry import MODELS


@MODELS.register_module()
class BNNeck(nn.Module):
    """Batch norm between the pooled feature and the classifier.

    A triplet loss wants free distances, a classifier wants features on a
    sphere around the origin: so one takes the feature before, the other after
    the norm (`Bag of Tricks and A Strong Baseline for Deep Person
    Re-identification <https://arxiv.org/abs/1903.07071>`_). The norm has no
    shift, as the classifier has no bias, so that the classes lie around the
    origin; at test time the feature after it is ranked by its cosines.

    Args:
        in_channels (int): Length C of the feature.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(in_channels)
        # The paper freezes it at 0. Without the parameter nobody can train
        # it by mistake.
        self.bn.bias = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) features to as many, normalised."""
        return self.bn(x)

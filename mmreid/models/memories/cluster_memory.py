import torch
import torch.nn.functional as F
from mmengine.dist import broadcast
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS

from .utils import take_shapes


def cluster_means(features: Tensor, labels: Tensor, num: int) -> Tensor:
    """Unit vectors that point to the mean of each cluster's images.

    Args:
        features (Tensor): (N, D), of unit norm.
        labels (Tensor): (N, ) int64, from 0; -1 belongs to none.
        num (int): Clusters K.

    Returns:
        Tensor: (K, D).
    """
    known = labels >= 0
    total = features.new_zeros(num, features.shape[1])
    total.index_add_(0, labels[known], features[known])
    return F.normalize(total)


@MODELS.register_module()
class ClusterMemory(nn.Module):
    """A unit vector phi per cluster, which follows the images of the batches.

    The rows start as the clusters' mean features (:meth:`start`). Each image
    f of a batch, of unit norm, moves the row of its cluster,
    ``phi = m phi + (1 - m) f``, and the row is normalised again; of several
    images of one cluster one after the other. No gradient flows through the
    rows.

    They live in a buffer: in every checkpoint, and equal on every rank, as
    long as each rank hands over the global batch.

    Args:
        temperature (float): tau, by which the cosines are divided. Defaults
            to 0.05.
        momentum (float): m, the weight of the old row, in [0, 1]. Defaults to
            0.1.

    Raises:
        InputError: If an option is out of its range.
    """

    def __init__(
        self, temperature: float = 0.05, momentum: float = 0.1
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise InputError(
                f'temperature of {type(self).__name__} must be above 0, but '
                f'is {temperature}.'
            )
        if not 0 <= momentum <= 1:
            raise InputError(
                f'momentum of {type(self).__name__} must be in [0, 1], but is '
                f'{momentum}.'
            )
        self.temperature = temperature
        self.momentum = momentum
        self.register_buffer('rows', torch.zeros(0, 0))

    @torch.no_grad()
    def start(self, features: Tensor, labels: Tensor) -> None:
        """Set the rows to the clusters' means, on every rank the first's.

        Args:
            features (Tensor): Of all images, (N, D), of unit norm.
            labels (Tensor): (N, ) int64, numbered from 0, -1 for outliers.
        """
        num = int(labels.max()) + 1
        self.rows = cluster_means(features, labels, num).to(self.rows)
        broadcast(self.rows)

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``f phi_k / tau``, (N, D) -> (N, K)."""
        return features @ self.rows.T / self.temperature

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Let the images of a batch move their rows.

        Args:
            features (Tensor): (N, D), of unit norm.
            labels (Tensor): Row of each, (N, ) int64.
        """
        # A new tensor: the backward pass still needs the old one.
        rows = self.rows.clone()
        # One after the other, and each place as a tensor: to ask for its
        # number would wait for the device.
        for feature, row in zip(
            features.to(rows).split(1), labels.split(1), strict=True
        ):
            moved = torch.lerp(feature, rows[row], self.momentum)
            rows[row] = F.normalize(moved)
        self.rows = rows

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        # As many rows as the checkpoint has clusters.
        take_shapes(self, state_dict, prefix, 'rows')
        super()._load_from_state_dict(state_dict, prefix, *args)

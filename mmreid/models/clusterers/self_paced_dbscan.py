import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS
from mmreid.structures import FeatureSet

from .jaccard_dbscan import JaccardDBSCAN


def cluster_overlap(labels: Tensor, other: Tensor) -> Tensor:
    """Of each image, how far two of its clusters are the same images.

    ``|I(i) n I'(i)| / |I(i) u I'(i)|``, with I(i) the images of the cluster
    of i. An outlier's cluster is the outlier itself.

    Args:
        labels (Tensor): (N, ) int64, -1 for outliers.
        other (Tensor): Of another clustering of the same images.

    Returns:
        Tensor: (N, ) float32, in (0, 1].
    """
    labels, other = separate_outliers(labels), separate_outliers(other)
    pairs = torch.stack([labels, other], 1)
    _, place, shared = pairs.unique(
        dim=0, return_inverse=True, return_counts=True
    )
    both = shared[place]
    either = labels.bincount()[labels] + other.bincount()[other] - both
    return both / either


def separate_outliers(labels: Tensor) -> Tensor:
    """Number the outliers after the clusters, each by itself.

    Args:
        labels (Tensor): (N, ) int64, from 0; -1 for outliers.

    Returns:
        Tensor: (N, ) int64, none below 0.
    """
    outlier = labels < 0
    number = labels.clamp(min=-1).max() + outlier.cumsum(0)
    return torch.where(outlier, number, labels)


@MODELS.register_module()
class SelfPacedDBSCAN(nn.Module):
    r"""Clusters that hardly depend on the radius: SpCL's.

    With a larger radius, ``eps + gap``, an independent cluster stays the
    same; with a smaller one, ``eps - gap``, a compact one does:

    .. math::
        R_{indep} = \frac{|I \cap I_{loose}|}{|I \cup I_{loose}|}, \quad
        R_{comp} = \frac{|I \cap I_{tight}|}{|I \cup I_{tight}|}

    (Eq. 5, 6) with I the images of the cluster of an image. A cluster stays
    if its R_indep, the best of its images', is alpha or more, and of its
    images those that have the best R_comp of it. The others are outliers.

    alpha is what a ``share`` of the first clusters has. It is a buffer: a run
    that is resumed goes on with it.

    Args:
        eps (float): See :class:`JaccardDBSCAN`. Defaults to 0.6.
        gap (float): Between the radii. Defaults to 0.02.
        share (float): Part of the first clusters that is to be independent.
            Defaults to 0.9.
        **kwargs: See :class:`JaccardDBSCAN`.

    Raises:
        InputError: If an option is out of its range.
    """

    def __init__(
        self,
        eps: float = 0.6,
        gap: float = 0.02,
        share: float = 0.9,
        **kwargs,
    ) -> None:
        super().__init__()
        if not 0 < gap < min(eps, 1 - eps):
            raise InputError(
                'gap of SelfPacedDBSCAN must be above 0 and leave eps - gap '
                f'and eps + gap in (0, 1), but is {gap} at eps={eps}.'
            )
        if not 0 < share <= 1:
            raise InputError(
                'share of SelfPacedDBSCAN must be above 0 and at most 1, but '
                f'is {share}.'
            )
        self.dbscan = JaccardDBSCAN(eps, **kwargs)
        self.radii = (eps, eps - gap, eps + gap)
        self.share = share
        self.register_buffer('alpha', torch.tensor(float('nan')))

    def forward(self, images: FeatureSet) -> Tensor:
        """Cluster images.

        Args:
            images (FeatureSet): N images, with their cameras if the distance
                is to heed them.

        Returns:
            Tensor: Labels, (N, ) int64 on the CPU, numbered from 0, -1 for
            outliers.
        """
        labels, tight, loose = self.dbscan.labels_at(images, *self.radii)
        independence = _best(cluster_overlap(labels, loose), labels)
        if self.alpha.isnan() and len(independence):
            ranked = independence.sort(descending=True).values
            last = min(round(self.share * len(ranked)), len(ranked) - 1)
            self.alpha.fill_(ranked[last])
            print_log(
                'Clusters are independent from R_indep = '
                f'{self.alpha.item():.3f} on, which {self.share:.0%} of the '
                'first ones have.',
                logger='current',
            )
        return self.keep(labels, independence, cluster_overlap(labels, tight))

    def keep(
        self, labels: Tensor, independence: Tensor, compactness: Tensor
    ) -> Tensor:
        """Make outliers of what is not reliable.

        Args:
            labels (Tensor): (N, ) int64, from 0; -1 for outliers.
            independence (Tensor): R_indep of the K clusters, (K, ).
            compactness (Tensor): R_comp of the images, (N, ).

        Returns:
            Tensor: (N, ) int64, numbered from 0, -1 for outliers.
        """
        known = labels >= 0
        cluster = labels[known]
        best = _best(compactness, labels)[cluster]
        reliable = known.clone()
        reliable[known] = (compactness[known] >= best) & (
            independence[cluster] >= self.alpha.item()
        )
        kept = torch.full_like(labels, -1)
        kept[reliable] = labels[reliable].unique(return_inverse=True)[1]
        return kept


def _best(values: Tensor, labels: Tensor) -> Tensor:
    """The largest value of each cluster, (K, )."""
    known = labels >= 0
    best = values.new_zeros(int(labels.clamp(min=-1).max()) + 1)
    return best.scatter_reduce(0, labels[known], values[known], 'amax')

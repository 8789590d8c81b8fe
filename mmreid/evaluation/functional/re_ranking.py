"""Better rankings from the features that are there: k-reciprocal re-ranking
and query expansion, both without an ``N x N`` or ``Q x G`` matrix."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmreid.errors import InputError
from mmreid.structures import FeatureSet
from mmreid.utils.progress import progress

from .distance import (
    EqualColumns,
    FeatureDistance,
    check_metric,
    check_pair,
    normalise,
    query_blocks,
)
from .k_reciprocal import expanded_sets, nearest, of_rows, overlap, weigh

__all__ = ['KReciprocalDistance', 'expand_queries']


class KReciprocalDistance:
    r"""Distances re-ranked by k-reciprocal neighbours, of Zhong et al.,
    "Re-ranking Person Re-identification with k-reciprocal Encoding"
    (CVPR 2017), a block of queries at a time.

    It stands in for :class:`FeatureDistance`, as in
    ``rank(KReciprocalDistance(query, gallery), query, gallery)``. All
    N = Q + G images, of both sets, are neighbours of each other:

    * the original distance is
      :math:`d_{ij} = \|x_i - x_j\|^2 / \max_l \|x_i - x_l\|^2`, of features
      of unit norm if the metric is cosine;
    * :math:`N(i, k)` is image i and the k others nearest to it,
      :math:`R(i, k) = \{j \in N(i, k): i \in N(j, k)\}`;
    * :math:`R^*(i)` is :math:`R(i, k_1)` and every :math:`R(j, h)` with
      :math:`j \in R(i, k_1)` of which more than 2/3 lies in
      :math:`R(i, k_1)`; h is :math:`k_1 / 2`, rounded half to even;
    * :math:`V_{ij} = e^{-d_{ij}} / \sum_{l \in R^*(i)} e^{-d_{il}}` for
      :math:`j \in R^*(i)`, else 0, and :math:`\bar V_i` is the mean of the
      :math:`V_j` over i and its :math:`k_2 - 1` nearest;
    * with :math:`s_{ij} = \sum_l \min(\bar V_{il}, \bar V_{jl})`, the result
      is :math:`(1 - \lambda) (1 - s_{ij} / (2 - s_{ij})) + \lambda d_{ij}`.

    This is what the authors' published code computes from Euclidean
    distances, which it squares. It differs from the paper's text where that
    code does: *more than* 2/3, not at least; the division by the largest
    distance of the row; and V of sum 1. Beyond either, ties are settled:
    an image is its own nearest, and of equally distant images the one of the
    lower index is nearer, queries before gallery.

    One streamed pass over all pairs, on the device of the features, finds
    the neighbours and the largest distance of each row; that is nearly all
    of the time, and every process of a distributed run repeats it. The sets
    are sparse matrices on the CPU. There :math:`\bar V` has at most
    :math:`k_2 (k_1 + 1) (1 + \lfloor (h + 1) / 3 \rfloor)` entries an image,
    of 8 bytes each and held twice while it is turned into the lists of its
    columns: 8 KB an image in the worst case for the default options, and
    1 KB or so for features that form clusters. Added to that come one copy
    of the features (two for a moment, with cosine) and 0.3 GB for blocks.

    Args:
        query (FeatureSet): Q images.
        gallery (FeatureSet): G images.
        k1 (int): Neighbours that have to be reciprocal. Defaults to 20.
        k2 (int): Images of the mean, the image itself among them; 1 is
            none. Defaults to 6.
        lambda_value (float): Weight of the original distance, in 0..1; 1 is
            the ranking without re-ranking. Defaults to 0.3.
        metric (str): ``'cosine'`` (a zero vector has similarity 0 to all) or
            ``'euclidean'``. Defaults to 'cosine'.
        chunk_size (int, optional): Images per block of the pass over all
            pairs. Defaults to None: as many as make 2^24 pairs, at most 256.

    Raises:
        InputError: If shapes or devices disagree, a set is empty, a feature
            is not finite, the metric does not exist, or an option is out of
            its range.

    Examples:
        >>> import torch
        >>> from mmreid.evaluation.functional import KReciprocalDistance
        >>> from mmreid.structures import FeatureSet
        >>> query = FeatureSet(torch.tensor([[1.0, 0.0]]))
        >>> gallery = torch.tensor([[0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> gallery = FeatureSet(gallery)
        >>> distance = KReciprocalDistance(query, gallery, k1=1, k2=1)
        >>> distance.block(slice(0, 1)).round(decimals=2)
        tensor([[0.0100, 1.0000, 0.9700]])
    """

    @torch.no_grad()
    def __init__(
        self,
        query: FeatureSet,
        gallery: FeatureSet,
        k1: int = 20,
        k2: int = 6,
        lambda_value: float = 0.3,
        metric: str = 'cosine',
        chunk_size: int | None = None,
    ) -> None:
        check_metric(metric)
        q, q_squares, g, g_squares = check_pair(query, gallery)
        self.shape = len(q), len(g)
        self.device = q.device
        num_images = sum(self.shape)
        if not (int(k1) == k1 and int(k2) == k2 and 1 <= k2 <= k1):
            raise InputError(
                'k1 and k2 must be whole numbers with 1 <= k2 <= k1, got '
                f'k1={k1} and k2={k2}.'
            )
        if k1 >= num_images:
            raise InputError(
                'k1 must be less than the number of query and gallery images '
                f'together, which is {num_images}, got {k1}: lower it.'
            )
        if not 0 <= lambda_value <= 1:
            raise InputError(
                f'lambda_value must be in 0..1, got {lambda_value}.'
            )
        k1, k2 = int(k1), int(k2)
        self.lambda_value = lambda_value

        features = torch.cat([q, g])
        squares = torch.cat([q_squares, g_squares])
        # Half the squared distance is row + column - product.
        if metric == 'cosine':
            features = normalise(features, squares)
            self._row = torch.zeros_like(squares)
            self._column = torch.ones_like(squares)
        else:
            self._row = self._column = squares / 2
        self._features = features
        self._equal_columns = EqualColumns(g)
        neighbours = self._search(k1 + 1, chunk_size)

        weights = weigh(
            expanded_sets(neighbours, round(k1 / 2) + 1),
            self._features,
            self._row,
            self._column,
            self._scale,
        )
        mean = of_rows(neighbours[:, :k2], 1 / k2, weights.dtype)
        num_query = len(q)
        self._queries = mean[:num_query] @ weights
        self._gallery = (mean[num_query:] @ weights).tocsc()

    def _scores(self, rows: slice, first: int = 0) -> Tensor:
        """What grows with the distance, within a row: to the first image and
        all after it."""
        with torch.autocast(self.device.type, enabled=False):
            return torch.addmm(
                self._column[first:],
                self._features[rows],
                self._features[first:].T,
                alpha=-1,
            )

    def _search(self, k: int, chunk_size: int | None) -> np.ndarray:
        """The k nearest of every image, itself first; notes the scale of its
        distances on the way. Shape (N, k), int32."""
        num = len(self._features)
        neighbours = np.empty((num, k), np.int32)
        scale = torch.empty_like(self._row)
        equal_columns = EqualColumns(self._features)
        blocks = list(query_blocks((num, num), chunk_size, (0, 1)))
        with progress(f'Neighbours of {num} images', len(blocks)) as advance:
            for rows in blocks:
                scores = equal_columns(self._scores(rows))
                scale[rows] = scores.amax(1) + self._row[rows]
                scores.diagonal(rows.start).fill_(-torch.inf)
                neighbours[rows] = nearest(scores, k).cpu().numpy()
                advance()
        # Where all images are one, all distances are 0.
        self._scale = scale.where(scale > 0, 1)
        return neighbours

    @torch.no_grad()
    def block(self, rows: slice) -> Tensor:
        """The re-ranked distances.

        Args:
            rows (slice): Queries, without a step.

        Returns:
            Tensor: Shape (q, G), the caller's to overwrite.
        """
        num_query = self.shape[0]
        original = self._equal_columns(self._scores(rows, num_query))
        original.add_(self._row[:num_query][rows, None]).clamp_(min=0)
        original.div_(self._scale[:num_query][rows, None])

        common = overlap(self._queries[rows], self._gallery).to(self.device)
        jaccard = common.div_(common - 2).add_(1)
        weight = self.lambda_value
        return original.mul_(weight).add_(jaccard, alpha=1 - weight)

    def to_distances(self, scores: Tensor, rows: slice) -> Tensor:
        """The distances as they are, for :func:`mmreid.evaluation.rank`."""
        return scores


@torch.no_grad()
def expand_queries(
    query: FeatureSet,
    gallery: FeatureSet,
    k: int = 5,
    metric: str = 'cosine',
    chunk_size: int | None = None,
) -> FeatureSet:
    """Average query expansion, of Chum et al., "Total Recall: Automatic
    Query Expansion with a Generative Feature Model for Object Retrieval"
    (ICCV 2007): the mean of each query and its k nearest gallery images.

    Of equally distant images the one of the lower index is nearer.

    Args:
        query (FeatureSet): Q images.
        gallery (FeatureSet): G images.
        k (int): Gallery images per mean; 0 gives the queries as they are.
            Defaults to 5.
        metric (str): ``'cosine'``, with features of unit norm in the mean,
            or ``'euclidean'``. Defaults to 'cosine'.
        chunk_size (int, optional): Queries per block. Defaults to None: as
            many as make 2^24 pairs, at most 256.

    Returns:
        FeatureSet: The queries with these means as features.

    Raises:
        InputError: If shapes or devices disagree, a set is empty, a feature
            is not finite, the metric does not exist, or k is not a whole
            number in 0..G.
    """
    distance = FeatureDistance(query, gallery, metric)
    if not (int(k) == k and 0 <= k <= len(gallery)):
        raise InputError(
            'k must be a whole number from 0 to the number of gallery images, '
            f'{len(gallery)}, got {k}.'
        )
    k = int(k)
    if k == 0:
        return query
    expanded = torch.empty_like(distance.query)
    for rows in query_blocks(distance.shape, chunk_size, (0, 1)):
        found = nearest(distance.block(rows), k)
        # Of unit norm, for cosine.
        expanded[rows] = F.embedding_bag(found, distance.gallery, mode='sum')
    expanded.add_(distance.query).div_(k + 1)
    return replace(query, features=expanded)

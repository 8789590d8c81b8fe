"""Better rankings from the features that are there: k-reciprocal re-ranking
and query expansion, both without an ``N x N`` or ``Q x G`` matrix."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from scipy.sparse import csr_array
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

__all__ = ['KReciprocalDistance', 'expand_queries']

# Pairs of images taken at a time where only some pairs count; each costs
# about 40 bytes.
_MAX_LISTED = 2**21
# Feature values gathered at a time for the distances of listed pairs.
_MAX_GATHERED = 2**20


def _nearest(scores: Tensor, k: int) -> Tensor:
    """Columns of each row's k smallest scores, equal ones by their index.

    Args:
        scores (Tensor): Shape (r, N).
        k (int): At most N.

    Returns:
        Tensor: Shape (r, k), int64.
    """
    values, indices = scores.topk(
        min(k + 1, scores.shape[1]), largest=False, sorted=True
    )
    indices = indices[:, :k].contiguous()
    # topk leaves open which of equal scores it takes: it matters where they
    # go on beyond the k-th.
    open_rows = (values[:, k - 1] == values[:, -1]).nonzero()[:, 0]
    if k < scores.shape[1] and len(open_rows):
        some = scores[open_rows]
        edge = values[open_rows, k - 1, None]
        below, equal = some < edge, some == edge
        room = k - below.sum(1, keepdim=True)
        equal &= equal.cumsum(1, dtype=torch.int32) <= room
        indices[open_rows] = (below | equal).nonzero()[:, 1].view(-1, k)
    indices = indices.sort(1).values
    order = scores.gather(1, indices).sort(dim=1, stable=True).indices
    return indices.gather(1, order)


def _of_rows(columns: np.ndarray, value: float, dtype: type) -> csr_array:
    """The value in k columns of every row.

    Args:
        columns (np.ndarray): Shape (N, k), int32.
        value (float): The value.
        dtype (type): Its type.

    Returns:
        csr_array: Shape (N, N).
    """
    num, k = columns.shape
    # int32 throughout: one int64 would make all that follows int64.
    starts = np.arange(0, num * k + 1, k, dtype=np.int32)
    values = np.full(num * k, value, dtype)
    return csr_array((values, columns.ravel(), starts), shape=(num, num))


def _reciprocal(neighbours: np.ndarray) -> csr_array:
    """Who is among whose neighbours, both ways: a symmetric matrix of ones.

    Args:
        neighbours (np.ndarray): Shape (N, k), int32.

    Returns:
        csr_array: Shape (N, N), at most k entries a row.
    """
    forward = _of_rows(neighbours, 1, np.int32)
    return forward.multiply(forward.T).tocsr()


def _expanded_sets(neighbours: np.ndarray, num_half: int) -> csr_array:
    """The sets R* of all images: non-zero where j is in R*(i).

    Args:
        neighbours (np.ndarray): Each image first, then its k1 neighbours.
            Shape (N, k1 + 1), int32.
        num_half (int): How many of these make the sets that are added.

    Returns:
        csr_array: Shape (N, N).
    """
    sets = _reciprocal(neighbours)
    halves = _reciprocal(neighbours[:, :num_half])
    sizes = np.diff(halves.indptr)
    # |R(i) and half set of j|, for every j in R(i). Half sets are symmetric,
    # as all of these are, so a product counts what is in both.
    added = (sets @ halves).multiply(sets).tocsr()
    added.data = (3 * added.data > 2 * sizes[added.indices]).astype(np.int32)
    added.eliminate_zeros()
    return (sets + added @ halves).tocsr()


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

        weights = self._weigh(_expanded_sets(neighbours, round(k1 / 2) + 1))
        mean = _of_rows(neighbours[:, :k2], 1 / k2, weights.dtype)
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
                neighbours[rows] = _nearest(scores, k).cpu().numpy()
                advance()
        # Where all images are one, all distances are 0.
        self._scale = scale.where(scale > 0, 1)
        return neighbours

    def _weigh(self, sets: csr_array) -> csr_array:
        """V: the sets with the weights of their members."""
        counts = np.diff(sets.indptr)
        images = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        weights = torch.empty(sets.nnz, dtype=self._features.dtype)
        step = max(1, _MAX_GATHERED // self._features.shape[1])
        for start in range(0, sets.nnz, step):
            part = slice(start, start + step)
            i = torch.from_numpy(images[part]).to(self.device).long()
            j = torch.from_numpy(sets.indices[part]).to(self.device).long()
            dot = self._features[i].mul_(self._features[j]).sum(1)
            distance = self._row[i] + self._column[j] - dot
            distance = distance.clamp_(min=0) / self._scale[i]
            weights[part] = distance.neg_().exp_().cpu()
        data = weights.numpy()
        # No set is empty: each has the image itself.
        data /= np.repeat(np.add.reduceat(data, sets.indptr[:-1]), counts)
        return csr_array((data, sets.indices, sets.indptr), sets.shape)

    def _pairs(self, rows: slice) -> Iterator[tuple[np.ndarray, ...]]:
        """Every query and gallery image with a common entry, in parts: the
        query within the block, the image, and the smaller of the entries."""
        queries, gallery = self._queries[rows], self._gallery
        query = np.repeat(np.arange(queries.shape[0]), np.diff(queries.indptr))
        begin = gallery.indptr[queries.indices].astype(np.int64)
        count = gallery.indptr[queries.indices + 1] - begin
        end = count.cumsum()
        cuts = np.arange(_MAX_LISTED, count.sum(), _MAX_LISTED)
        for part in np.split(
            np.arange(len(count)), np.searchsorted(end, cuts)
        ):
            entry = np.repeat(part, count[part])
            if len(entry):
                # The running number within the entry's list, in the list.
                number = np.arange(len(entry)) + end[entry[0]]
                number -= count[entry[0]]
                number += (begin + count - end)[entry]
                yield (
                    query[entry],
                    gallery.indices[number],
                    np.minimum(queries.data[entry], gallery.data[number]),
                )

    @torch.no_grad()
    def block(self, rows: slice) -> Tensor:
        """The re-ranked distances.

        Args:
            rows (slice): Queries, without a step.

        Returns:
            Tensor: Shape (q, G), the caller's to overwrite.
        """
        num_query, num_gallery = self.shape
        original = self._equal_columns(self._scores(rows, num_query))
        original.add_(self._row[:num_query][rows, None]).clamp_(min=0)
        original.div_(self._scale[:num_query][rows, None])

        common = torch.zeros(original.numel(), dtype=original.dtype)
        for query, image, value in self._pairs(rows):
            place = torch.from_numpy(query * num_gallery + image)
            common.index_add_(0, place, torch.from_numpy(value))
        common = common.view(original.shape).to(self.device)
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
        nearest = _nearest(distance.block(rows), k)
        # Of unit norm, for cosine.
        expanded[rows] = F.embedding_bag(nearest, distance.gallery, mode='sum')
    expanded.add_(distance.query).div_(k + 1)
    return replace(query, features=expanded)

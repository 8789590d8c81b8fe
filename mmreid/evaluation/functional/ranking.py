"""Ranking a gallery for every query, without sorting the gallery.

The place of a true match in the ranking is the number of images which rank
ahead of it. So only the few true matches of a query are sorted; every other
image is dropped, by binary search, into the gap between two of them that it
falls in, and the running sum over the gaps gives each true match its place.
Queries go block by block: the ``Q x G`` matrix never exists.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = [
    'QueryRanks',
    'check_options',
    'rank_metrics',
    'rank_queries',
    'top_neighbours',
]

ArrayLike = Tensor | np.ndarray | Sequence

# A pair costs 12 bytes (score and gap), so a block stays near 200 MB.
_MAX_PAIRS = 2**24
_MAX_BLOCK = 256


def _standard(hit: Tensor, position: Tensor) -> Tensor:
    return (hit + 1) / (position + 1)


def _trapezoid(hit: Tensor, position: Tensor) -> Tensor:
    before = torch.where(position == 0, 1.0, hit / position.clamp(min=1))
    return (before + _standard(hit, position)) / 2


def _mar(hit: Tensor, position: Tensor) -> Tensor:
    before = torch.where(hit == 0, 1.0, hit / position.clamp(min=1))
    return (before + _standard(hit, position)) / 2


_AP: dict[str, Callable[[Tensor, Tensor], Tensor]] = dict(
    standard=_standard, trapezoid=_trapezoid, mar=_mar
)
_METRICS = ('cosine', 'euclidean')


class QueryRanks(NamedTuple):
    """What each query's ranking is worth.

    Attributes:
        ap (Tensor): Average precision, in 0..1. Shape (Q,), float64.
        inp (Tensor): Inverse negative penalty: the number of true matches
            over the 1-based rank of the last one. Shape (Q,), float64.
        first_rank (Tensor): 1-based rank of the first true match. Shape
            (Q,), int64.
        valid (Tensor): Whether the query has a true match at all; the other
            three are 0 where it has none. Shape (Q,), bool.
    """

    ap: Tensor
    inp: Tensor
    first_rank: Tensor
    valid: Tensor

    def summary(self, topk: Sequence[int] = (1, 5, 10, 20)) -> dict:
        """Mean over the valid queries.

        Args:
            topk (Sequence[int]): The k of ``rank-k``. Defaults to
                (1, 5, 10, 20).

        Returns:
            dict[str, float]: ``rank-k``, ``mAP`` and ``mINP`` in percent,
            and ``skipped_queries``, the number of queries left out because
            they have no true match.

        Raises:
            ValueError: If no query has a true match.
        """
        num_valid = int(self.valid.sum())
        if num_valid == 0:
            raise ValueError(
                f'None of the {len(self.valid)} queries has a gallery image '
                'of its person from another camera: check the person and '
                'camera ids (a gallery without camera labels needs a camera '
                'id that no query has).'
            )
        first_rank = self.first_rank[self.valid]
        result = {
            f'rank-{k}': 100.0 * int((first_rank <= k).sum()) / num_valid
            for k in topk
        }
        result['mAP'] = 100.0 * self.ap[self.valid].mean().item()
        result['mINP'] = 100.0 * self.inp[self.valid].mean().item()
        result['skipped_queries'] = float(len(self.valid) - num_valid)
        return result


def check_options(
    metric: str = 'cosine',
    ap: str = 'standard',
    topk: Sequence[int] = (1,),
) -> None:
    """Raise a ValueError unless every option is one that exists."""
    if metric not in _METRICS:
        raise ValueError(f'metric must be one of {_METRICS}, got {metric!r}.')
    if ap not in _AP:
        raise ValueError(f'ap must be one of {tuple(_AP)}, got {ap!r}.')
    if not topk or any(k != int(k) or k < 1 for k in topk):
        raise ValueError(f'topk must be whole numbers >= 1, got {topk!r}.')


def _features(name: str, value: ArrayLike) -> tuple[Tensor, Tensor]:
    """Checked features (N, D) in float32 or float64, and |x|^2, (N,)."""
    features = torch.as_tensor(value)
    if not features.is_floating_point():
        raise TypeError(
            f'{name} must be floating point, got {features.dtype}: pass the '
            "model's features, not images or ids."
        )
    if features.ndim != 2 or features.numel() == 0:
        raise ValueError(
            f'{name} must be a (N, D) tensor with at least one row and one '
            f'column, got shape {tuple(features.shape)}.'
        )
    if features.dtype != torch.float64:
        features = features.float()
    squares = features.square().sum(1)
    # The squared norm of a row tells NaN, inf and overflow at once.
    bad = (~squares.isfinite()).nonzero()
    if len(bad):
        raise ValueError(
            f'{name} row {bad[0].item()} holds NaN, inf or values whose '
            f'square overflows ({len(bad)} of {len(features)} rows do): '
            'check the model and its precision.'
        )
    return features, squares


def _labels(name: str, value: ArrayLike, like: Tensor) -> Tensor:
    labels = torch.as_tensor(value, device=like.device)
    if labels.shape != like.shape[:1]:
        raise ValueError(
            f'{name} must hold one number per feature row, ({len(like)},), '
            f'got shape {tuple(labels.shape)}.'
        )
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f'{name} must be integers, got {labels.dtype}.')
    return labels.long()


class _Retrieval:
    """Checked inputs, and the scores of one block of queries at a time."""

    def __init__(
        self,
        query_features: ArrayLike,
        gallery_features: ArrayLike,
        query_ids: ArrayLike,
        gallery_ids: ArrayLike,
        query_cams: ArrayLike,
        gallery_cams: ArrayLike,
        metric: str,
        chunk_size: int | None,
    ) -> None:
        query, query_squares = _features('query_features', query_features)
        gallery, squares = _features('gallery_features', gallery_features)
        if query.shape[1] != gallery.shape[1]:
            raise ValueError(
                'query_features and gallery_features must have equally many '
                f'columns, got {query.shape[1]} and {gallery.shape[1]}.'
            )
        if query.device != gallery.device:
            raise ValueError(
                'query_features and gallery_features must be on one device, '
                f'got {query.device} and {gallery.device}.'
            )
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f'chunk_size must be >= 1, got {chunk_size}.')
        query_ids = _labels('query_ids', query_ids, query)
        gallery_ids = _labels('gallery_ids', gallery_ids, gallery)
        self.query_cams = _labels('query_cams', query_cams, query)
        self.gallery_cams = _labels('gallery_cams', gallery_cams, gallery)

        if metric == 'cosine':
            query = query / query_squares.sqrt().clamp(min=1e-12)[:, None]
            gallery = gallery / squares.sqrt().clamp(min=1e-12)[:, None]
            squares = torch.zeros_like(squares)
        dtype = torch.promote_types(query.dtype, gallery.dtype)
        self.query = query.to(dtype)
        self.gallery = gallery.to(dtype)
        # |q - g|^2 / 2 without |q|^2, which is the same for the whole row.
        self.offset = squares.to(dtype) / 2

        # The gallery images of one person, as a range of this order.
        self.order = gallery_ids.argsort(stable=True)
        gallery_ids = gallery_ids[self.order]
        self.begin = torch.searchsorted(gallery_ids, query_ids)
        self.end = torch.searchsorted(gallery_ids, query_ids, right=True)
        self.block = chunk_size or min(
            _MAX_BLOCK, max(1, _MAX_PAIRS // len(gallery))
        )

    def blocks(self, rank: int = 0, world_size: int = 1) -> Iterator[slice]:
        """Slices of queries. Whole blocks are dealt out to the ranks, since
        the last bit of a matrix product depends on the block it is in."""
        starts = range(0, len(self.query), self.block)
        for start in starts[rank::world_size]:
            yield slice(start, min(start + self.block, len(self.query)))

    def distances(self, rows: slice) -> Tensor:
        """Something that grows with the distance. Shape (q, G)."""
        query = self.query[rows]
        if len(query) == 1:
            # A one-row product runs as matrix times vector, which sums equal
            # columns in different orders and so breaks their ties.
            query = query.expand(2, -1)
        # Under autocast, bf16 would turn near neighbours into ties.
        with torch.autocast(query.device.type, enabled=False):
            distances = torch.addmm(
                self.offset, query, self.gallery.T, alpha=-1
            )
        return distances[: rows.stop - rows.start]

    def same_person(self, rows: slice) -> tuple[Tensor, ...]:
        """Every pair of one person, as four vectors: the query within the
        block, the running number within that query, the gallery image, and
        whether both are from the same camera (which makes it junk)."""
        count = self.end[rows] - self.begin[rows]
        query = torch.repeat_interleave(count)
        number = torch.arange(len(query), device=query.device)
        number -= (count.cumsum(0) - count)[query]
        image = self.order[self.begin[rows][query] + number]
        junk = self.gallery_cams[image] == self.query_cams[rows][query]
        return query, number, image, junk


@torch.no_grad()
def rank_queries(
    query_features: ArrayLike,
    gallery_features: ArrayLike,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    query_cams: ArrayLike,
    gallery_cams: ArrayLike,
    metric: str = 'cosine',
    ap: str = 'standard',
    chunk_size: int | None = None,
    shard: tuple[int, int] = (0, 1),
) -> QueryRanks:
    r"""Rank the gallery for every query.

    Gallery images of the query's own person *and* camera are ignored; those
    of its person from another camera are its true matches. With
    :math:`p_j` the 0-based rank of true match :math:`j = 0..n-1`, the
    average precision is :math:`\frac{1}{n} \sum_j a_j` with

    * ``'standard'``: :math:`a_j = r_j = \frac{j + 1}{p_j + 1}`, which most
      toolboxes report;
    * ``'trapezoid'``: :math:`a_j = (o_j + r_j) / 2` with
      :math:`o_j = j / p_j`, or 1 if :math:`p_j = 0`: the script that came
      with Market-1501;
    * ``'mar'``: the same, but :math:`o_j = 1` if :math:`j = 0`: the
      published code of MAR. A first match at a low rank still counts half,
      which flatters weak models; use it to compare with that paper only.

    Ties are pessimistic: an image of another person at exactly the distance
    of a true match ranks ahead of it, wherever either lies in the gallery.
    So a collapsed model scores worst, not by luck.

    Distances are computed in float32, or in float64 if either input is.
    Inputs may be tensors on any device (features decide) or numpy arrays.

    Args:
        query_features (Tensor): Shape (Q, D), floating point.
        gallery_features (Tensor): Shape (G, D), floating point.
        query_ids (Tensor): Person ids. Shape (Q,).
        gallery_ids (Tensor): Person ids. Shape (G,).
        query_cams (Tensor): Camera ids. Shape (Q,).
        gallery_cams (Tensor): Camera ids. Shape (G,).
        metric (str): ``'cosine'`` (a zero vector has similarity 0 to all) or
            ``'euclidean'``. Defaults to 'cosine'.
        ap (str): ``'standard'``, ``'trapezoid'`` or ``'mar'``. Defaults to
            'standard'.
        chunk_size (int, optional): Queries per block. Defaults to None: as
            many as fit in about 200 MB, at most 256.
        shard (tuple[int, int]): ``(rank, world_size)``: score only this
            rank's blocks and leave 0 for the other queries, so that the sum
            over the ranks is the whole. Defaults to (0, 1).

    Returns:
        QueryRanks: Per query: AP, INP, rank of the first match, validity.

    Raises:
        TypeError: If features are not floating point or ids not integers.
        ValueError: If shapes disagree, a set is empty, a feature is not
            finite, or an option does not exist.
    """
    check_options(metric, ap)
    retrieval = _Retrieval(
        query_features,
        gallery_features,
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
        metric,
        chunk_size,
    )
    num_query, device = len(retrieval.query), retrieval.query.device
    result = QueryRanks(
        torch.zeros(num_query, dtype=torch.float64, device=device),
        torch.zeros(num_query, dtype=torch.float64, device=device),
        torch.zeros(num_query, dtype=torch.int64, device=device),
        torch.zeros(num_query, dtype=torch.bool, device=device),
    )
    one = torch.ones((), dtype=torch.int64, device=device)
    for rows in retrieval.blocks(*shard):
        distances = retrieval.distances(rows)
        query, number, image, junk = retrieval.same_person(rows)
        num_slots = int(number.max()) + 1 if len(number) else 1
        matches = distances.new_full((len(distances), num_slots), torch.inf)
        matches[query, number] = distances[query, image].masked_fill(
            junk, torch.inf
        )
        matches = matches.sort(dim=1).values
        num_matches = matches.isfinite().sum(1)

        # Beyond every true match, the query's own person counts for nobody.
        distances[query, image] = torch.inf
        gap = torch.searchsorted(matches, distances)
        ahead = torch.zeros(
            (len(distances), num_slots + 1), dtype=torch.int64, device=device
        )
        ahead.scatter_add_(1, gap, one.expand_as(gap))
        hit = torch.arange(num_slots, device=device)
        position = ahead.cumsum(1)[:, :-1] + hit

        precision = _AP[ap](hit.double(), position.double())
        precision *= hit < num_matches[:, None]
        last = (num_matches - 1).clamp(min=0)[:, None]
        result.valid[rows] = num_matches > 0
        result.ap[rows] = precision.sum(1) / num_matches.clamp(min=1)
        rank_of_last = position.gather(1, last)[:, 0] + 1
        result.inp[rows] = num_matches.double() / rank_of_last
        result.first_rank[rows] = (position[:, 0] + 1) * (num_matches > 0)
    return result


def rank_metrics(
    query_features: ArrayLike,
    gallery_features: ArrayLike,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    query_cams: ArrayLike,
    gallery_cams: ArrayLike,
    metric: str = 'cosine',
    ap: str = 'standard',
    topk: Sequence[int] = (1, 5, 10, 20),
) -> dict[str, float]:
    """CMC, mAP and mINP of a query set against a gallery.

    The rules (same-camera junk, AP formulas, ties) and the arguments are
    those of :func:`rank_queries`; this is the mean over the queries that
    have a true match.

    Args:
        query_features (Tensor): Shape (Q, D), floating point.
        gallery_features (Tensor): Shape (G, D), floating point.
        query_ids (Tensor): Person ids. Shape (Q,).
        gallery_ids (Tensor): Person ids. Shape (G,).
        query_cams (Tensor): Camera ids. Shape (Q,).
        gallery_cams (Tensor): Camera ids. Shape (G,).
        metric (str): ``'cosine'`` or ``'euclidean'``. Defaults to 'cosine'.
        ap (str): ``'standard'``, ``'trapezoid'`` or ``'mar'``. Defaults to
            'standard'.
        topk (Sequence[int]): The k of ``rank-k``; may exceed the gallery.
            Defaults to (1, 5, 10, 20).

    Returns:
        dict[str, float]: ``rank-k``, ``mAP`` and ``mINP`` in percent, and
        ``skipped_queries``, the number of queries without a true match.

    Raises:
        TypeError: If features are not floating point or ids not integers.
        ValueError: If shapes disagree, a set is empty, a feature is not
            finite, an option does not exist, or no query has a true match.

    Examples:
        >>> import torch
        >>> from mmreid.evaluation import rank_metrics
        >>> query = torch.tensor([[1.0, 0.0]])
        >>> gallery = torch.tensor([[0.9, 0.1], [0.8, 0.6]])
        >>> rank_metrics(query, gallery, [7], [3, 7], [0], [1, 1], topk=[1])
        {'rank-1': 0.0, 'mAP': 50.0, 'mINP': 50.0, 'skipped_queries': 0.0}
    """
    check_options(metric, ap, topk)
    return rank_queries(
        query_features,
        gallery_features,
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
        metric=metric,
        ap=ap,
    ).summary(topk)


@torch.no_grad()
def top_neighbours(
    query_features: ArrayLike,
    gallery_features: ArrayLike,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    query_cams: ArrayLike,
    gallery_cams: ArrayLike,
    k: int = 10,
    metric: str = 'cosine',
    chunk_size: int | None = None,
) -> Tensor:
    """The k nearest gallery images of each query, nearest first.

    Gallery images of the query's own person and camera are left out, as in
    :func:`rank_queries`. The order among equal distances is not defined.

    Args:
        query_features (Tensor): Shape (Q, D), floating point.
        gallery_features (Tensor): Shape (G, D), floating point.
        query_ids (Tensor): Person ids. Shape (Q,).
        gallery_ids (Tensor): Person ids. Shape (G,).
        query_cams (Tensor): Camera ids. Shape (Q,).
        gallery_cams (Tensor): Camera ids. Shape (G,).
        k (int): Neighbours per query. Defaults to 10.
        metric (str): ``'cosine'`` or ``'euclidean'``. Defaults to 'cosine'.
        chunk_size (int, optional): Queries per block. Defaults to None: as
            many as fit in about 200 MB, at most 256.

    Returns:
        Tensor: Gallery indices, -1 where fewer than k are left. Shape
        (Q, k), int64.

    Raises:
        TypeError: If features are not floating point or ids not integers.
        ValueError: If shapes disagree, a set is empty, a feature is not
            finite, or an option does not exist.
    """
    check_options(metric, topk=[k])
    retrieval = _Retrieval(
        query_features,
        gallery_features,
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
        metric,
        chunk_size,
    )
    num_found = min(k, len(retrieval.gallery))
    neighbours = torch.full(
        (len(retrieval.query), k), -1, device=retrieval.query.device
    )
    for rows in retrieval.blocks():
        distances = retrieval.distances(rows)
        query, _, image, junk = retrieval.same_person(rows)
        distances[query[junk], image[junk]] = torch.inf
        nearest = distances.topk(num_found, largest=False)
        neighbours[rows, :num_found] = nearest.indices.masked_fill(
            nearest.values.isinf(), -1
        )
    return neighbours

"""Ranking a gallery for every query, without sorting the gallery.

The place of a true match in the ranking is the number of images which rank
ahead of it. So only what is nearer than a query's last true match is looked
at again, the less the more the model has learned: it is sorted, and each true
match is found in it by binary search. Queries go block by block: the ``Q x G``
matrix never exists.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmreid.errors import InputError
from mmreid.structures import FeatureSet, RetrievalResult
from mmreid.structures.feature_set import check_labels
from mmreid.utils.progress import progress

from .average_precision import AP_FORMULAS, average_precision
from .distance import (
    ArrayLike,
    Distance,
    FeatureDistance,
    as_features,
    query_blocks,
)
from .matches import Matches

__all__ = ['TIES', 'check_options', 'rank', 'rank_metrics', 'rank_queries']

TIES = ('pessimistic', 'optimistic')


def check_options(
    ap: str = 'standard',
    topk: Sequence[int] = (1,),
    ties: str = 'pessimistic',
) -> None:
    """Raise an InputError unless every option is one that exists."""
    for name, value, choices in (
        ('ap', ap, tuple(AP_FORMULAS)),
        ('ties', ties, TIES),
    ):
        if value not in choices:
            raise InputError(
                f'{name} must be one of {choices}, got {value!r}.'
            )
    if not topk or any(k != int(k) or k < 1 for k in topk):
        raise InputError(f'topk must be whole numbers >= 1, got {topk!r}.')


def _count_ahead(scores: Tensor, matches: Tensor, ties: str) -> Tensor:
    """How many of a row's scores rank ahead of each of its matches.

    Args:
        scores (Tensor): Shape (q, G).
        matches (Tensor): Ascending, inf beyond the last. Shape (q, M).
        ties (str): Whether an equal score ranks ahead, 'pessimistic', or
            not, 'optimistic'.

    Returns:
        Tensor: Shape (q, M), int64, any value where there is no match.
    """
    count = (
        _count_ahead_numpy
        if scores.device.type == 'cpu'
        else _count_ahead_torch
    )
    return count(scores, matches, ties)


def _count_ahead_torch(scores: Tensor, matches: Tensor, ties: str) -> Tensor:
    # An equal score falls into the gap before the match, or after it.
    gap = torch.searchsorted(matches, scores, right=ties == 'optimistic')
    ahead = gap.new_zeros(len(scores), matches.shape[1] + 1)
    one = gap.new_ones(())
    ahead.scatter_add_(1, gap, one.expand_as(gap))
    return ahead.cumsum(1)[:, :-1]


def _count_ahead_numpy(scores: Tensor, matches: Tensor, ties: str) -> Tensor:
    # Comparisons, scans and sorts are vectorised here, not in torch. Row by
    # row, for a row stays in the cache.
    own = matches.numpy()
    last = np.where(np.isfinite(own), own, -np.inf).max(1)
    ahead = np.empty(own.shape, np.int64)
    for row, score in enumerate(scores.numpy()):
        nearer = score.take((score <= last[row]).nonzero()[0])
        nearer.sort()
        ahead[row] = nearer.searchsorted(
            own[row], 'right' if ties == 'pessimistic' else 'left'
        )
    return torch.from_numpy(ahead)


@torch.no_grad()
def rank(
    distance: Distance,
    query: FeatureSet,
    gallery: FeatureSet,
    ap: str = 'standard',
    camera_rule: str = 'standard',
    ties: str = 'pessimistic',
    num_neighbours: int = 0,
    chunk_size: int | None = None,
    shard: tuple[int, int] = (0, 1),
) -> RetrievalResult:
    """Rank the gallery for every query, by any distance.

    A gallery image of the query's person is a true match, unless the camera
    rule ignores it: see :mod:`mmreid.evaluation.functional.matches`. The
    formulas of the average precision are those of
    :mod:`mmreid.evaluation.functional.average_precision`.

    Ties are pessimistic by default: an image of another person at exactly
    the distance of a true match ranks ahead of it, wherever either lies in
    the gallery. So a collapsed model scores worst, not by luck.
    ``'optimistic'`` ranks the true match ahead; the two differ only if there
    are ties.

    Args:
        distance (Distance): Of Q queries to G gallery images.
        query (FeatureSet): The queries: of both sets only the labels are
            used, for the distance has the features. Q images.
        gallery (FeatureSet): The gallery. G images.
        ap (str): ``'standard'``, ``'trapezoid'`` or ``'mar'``. Defaults to
            'standard'.
        camera_rule (str): ``'standard'``, ``'none'`` or ``'cross'``.
            Defaults to 'standard'.
        ties (str): ``'pessimistic'`` or ``'optimistic'``. Defaults to
            'pessimistic'.
        num_neighbours (int): How many neighbours k of each query to keep.
            The order among equal distances is not defined. Defaults to 0.
        chunk_size (int, optional): Queries per block. Defaults to None: as
            many as fit in about 200 MB, at most 256.
        shard (tuple[int, int]): ``(rank, world_size)``: score only this
            rank's blocks and leave 0 for the other queries, so that the sum
            over the ranks is the whole. Defaults to (0, 1).

    Returns:
        RetrievalResult: Per query: AP, INP, rank of the first match,
        validity, neighbours.

    Raises:
        InputError: If the distance is of other sets, persons or cameras are
            unknown, or an option does not exist.
    """
    check_options(ap, ties=ties)
    device = distance.device
    num_query, num_gallery = distance.shape
    who = Matches(distance, query, gallery, camera_rule)

    def empty(*shape: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    shape = num_query, num_neighbours
    result = RetrievalResult(
        ap=empty(num_query, dtype=torch.float64),
        inp=empty(num_query, dtype=torch.float64),
        first_rank=empty(num_query, dtype=torch.int64),
        valid=empty(num_query, dtype=torch.bool),
        neighbours=empty(*shape, dtype=torch.int64),
        distances=empty(*shape, dtype=torch.float64),
        correct=empty(*shape, dtype=torch.bool),
    )
    blocks = list(query_blocks(distance.shape, chunk_size, shard))
    with progress(f'Ranking for {num_query} queries', len(blocks)) as advance:
        for rows in blocks:
            scores = distance.block(rows)
            row, number, image, ignored = who.same_person(rows)
            own = scores[row, image].masked_fill(ignored, torch.inf)
            who.hide(scores, rows)
            if num_neighbours:
                scores[row, image] = own
                k = min(num_neighbours, num_gallery)
                nearest = scores.topk(k, largest=False)
                found = nearest.values.isfinite()
                result.neighbours[rows] = -1
                result.neighbours[rows, :k] = nearest.indices.where(found, -1)
                result.distances[rows] = torch.inf
                result.distances[rows, :k] = distance.to_distances(
                    nearest.values, rows
                ).to(result.distances)
                match = torch.zeros_like(scores, dtype=torch.bool)
                match[row, image] = True
                result.correct[rows, :k] = (
                    match.gather(1, nearest.indices) & found
                )

            num_slots = int(number.max()) + 1 if len(number) else 1
            matches = scores.new_full((len(scores), num_slots), torch.inf)
            matches[row, number] = own
            matches = matches.sort(dim=1).values
            num_matches = matches.isfinite().sum(1)
            # Beyond every true match, the query's person counts for nobody.
            scores[row, image] = torch.inf
            position = _count_ahead(scores, matches, ties)
            position += torch.arange(num_slots, device=device)

            last = (num_matches - 1).clamp(min=0)[:, None]
            result.valid[rows] = num_matches > 0
            result.ap[rows] = average_precision(position, num_matches, ap)
            rank_of_last = position.gather(1, last)[:, 0] + 1
            result.inp[rows] = num_matches.double() / rank_of_last
            result.first_rank[rows] = (position[:, 0] + 1) * (num_matches > 0)
            advance()
    return result


def rank_queries(
    query: FeatureSet,
    gallery: FeatureSet,
    metric: str = 'cosine',
    **kwargs: Any,
) -> RetrievalResult:
    """Rank the gallery for every query, by the distance of features.

    Distances are computed in float32, or in float64 if either set is.

    Args:
        query (FeatureSet): Q images.
        gallery (FeatureSet): G images.
        metric (str): ``'cosine'`` (a zero vector has similarity 0 to all) or
            ``'euclidean'``. Defaults to 'cosine'.
        **kwargs: The options of :func:`rank`, which has the rules.

    Returns:
        RetrievalResult: See :func:`rank`.

    Raises:
        InputError: If shapes or devices disagree, a set is empty, a feature
            is not finite, persons or cameras are unknown, or an option does
            not exist.
    """
    distance = FeatureDistance(query, gallery, metric)
    return rank(distance, query, gallery, **kwargs)


def _side(
    name: str, features: ArrayLike, ids: ArrayLike, cams: ArrayLike | None
) -> FeatureSet:
    """A set of arrays, with errors that name the caller's arguments."""
    features = as_features(f'{name}_features', features)
    person_id = torch.as_tensor(ids)
    check_labels(f'{name}_ids', person_id, len(features))
    camera_id = None
    if cams is not None:
        camera_id = torch.as_tensor(cams)
        check_labels(f'{name}_cams', camera_id, len(features))
    return FeatureSet(features, person_id, camera_id)


def rank_metrics(
    query_features: ArrayLike,
    gallery_features: ArrayLike,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    query_cams: ArrayLike | None = None,
    gallery_cams: ArrayLike | None = None,
    metric: str = 'cosine',
    ap: str = 'standard',
    topk: Sequence[int] = (1, 5, 10, 20),
    **kwargs: Any,
) -> dict[str, float]:
    """CMC, mAP and mINP of a query set against a gallery.

    The rules (what is ignored, AP formulas, ties) are those of :func:`rank`;
    this is the mean over the queries that have a true match. Inputs may be
    tensors on any device (features decide) or numpy arrays.

    Args:
        query_features (Tensor): Shape (Q, D), floating point.
        gallery_features (Tensor): Shape (G, D), floating point.
        query_ids (Tensor): Person ids. Shape (Q,).
        gallery_ids (Tensor): Person ids. Shape (G,).
        query_cams (Tensor, optional): Camera ids. Shape (Q,). Defaults to
            None, for ``camera_rule='none'``.
        gallery_cams (Tensor, optional): Camera ids. Shape (G,). Defaults to
            None.
        metric (str): ``'cosine'`` or ``'euclidean'``. Defaults to 'cosine'.
        ap (str): ``'standard'``, ``'trapezoid'`` or ``'mar'``. Defaults to
            'standard'.
        topk (Sequence[int]): The k of ``rank-k``; may exceed the gallery.
            Defaults to (1, 5, 10, 20).
        **kwargs: Further options of :func:`rank`.

    Returns:
        dict[str, float]: ``rank-k``, ``mAP`` and ``mINP`` in percent, and
        ``skipped_queries``, the number of queries without a true match.

    Raises:
        TypeError: If features are not floating point or ids not integers.
        InputError: If shapes disagree, a set is empty, a feature is not
            finite, an option does not exist, or no query has a true match.

    Examples:
        >>> import torch
        >>> from mmreid.evaluation import rank_metrics
        >>> query = torch.tensor([[1.0, 0.0]])
        >>> gallery = torch.tensor([[0.9, 0.1], [0.8, 0.6]])
        >>> rank_metrics(query, gallery, [7], [3, 7], [0], [1, 1], topk=[1])
        {'rank-1': 0.0, 'mAP': 50.0, 'mINP': 50.0, 'skipped_queries': 0.0}
    """
    check_options(ap, topk)
    query = _side('query', query_features, query_ids, query_cams)
    gallery = _side('gallery', gallery_features, gallery_ids, gallery_cams)
    return rank_queries(query, gallery, metric, ap=ap, **kwargs).summary(topk)

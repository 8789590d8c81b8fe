"""Ranking a gallery for every query, without sorting the gallery.

The place of a true match in the ranking is the number of images which rank
ahead of it. So only what is nearer than a query's last true match is looked
at again, the less the more the model has learned: it is sorted, and each true
match is found in it by binary search. Queries go block by block: the ``Q x G``
matrix never exists.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mmreid.structures import RetrievalResult

from .distance import ArrayLike, FeatureDistance

__all__ = [
    'AP_FORMULAS',
    'CAMERA_RULES',
    'TIES',
    'check_options',
    'rank',
    'rank_metrics',
    'rank_queries',
]

# A pair costs 5 bytes (score and mask), and 8 more where all have to be
# looked at again, so a block stays below 220 MB.
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


AP_FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = dict(
    standard=_standard, trapezoid=_trapezoid, mar=_mar
)
# Which gallery images are ignored for a query.
CAMERA_RULES = ('standard', 'none', 'cross')
TIES = ('pessimistic', 'optimistic')


def check_options(
    ap: str = 'standard',
    topk: Sequence[int] = (1,),
    camera_rule: str = 'standard',
    ties: str = 'pessimistic',
) -> None:
    """Raise a ValueError unless every option is one that exists."""
    for name, value, choices in (
        ('ap', ap, tuple(AP_FORMULAS)),
        ('camera_rule', camera_rule, CAMERA_RULES),
        ('ties', ties, TIES),
    ):
        if value not in choices:
            raise ValueError(
                f'{name} must be one of {choices}, got {value!r}.'
            )
    if not topk or any(k != int(k) or k < 1 for k in topk):
        raise ValueError(f'topk must be whole numbers >= 1, got {topk!r}.')


def _labels(
    name: str, value: ArrayLike, num: int, device: torch.device
) -> Tensor:
    labels = torch.as_tensor(value, device=device)
    if labels.shape != (num,):
        raise ValueError(
            f'{name} must hold one number per feature row, ({num},), '
            f'got shape {tuple(labels.shape)}.'
        )
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f'{name} must be integers, got {labels.dtype}.')
    return labels.long().contiguous()


class Matches:
    """Who shows whom, and what is ignored."""

    def __init__(
        self,
        shape: tuple[int, int],
        device: torch.device,
        query_ids: ArrayLike,
        gallery_ids: ArrayLike,
        query_cams: ArrayLike | None,
        gallery_cams: ArrayLike | None,
        camera_rule: str,
    ) -> None:
        num_query, num_gallery = shape
        query_ids = _labels('query_ids', query_ids, num_query, device)
        gallery_ids = _labels('gallery_ids', gallery_ids, num_gallery, device)
        self.camera_rule = camera_rule
        if camera_rule != 'none':
            if query_cams is None or gallery_cams is None:
                raise ValueError(
                    f"camera_rule '{camera_rule}' needs query_cams and "
                    "gallery_cams: pass them, or camera_rule='none'."
                )
            self.query_cams = _labels(
                'query_cams', query_cams, num_query, device
            )
            self.gallery_cams = _labels(
                'gallery_cams', gallery_cams, num_gallery, device
            )
        # The gallery images of one person, as a range of this order.
        self.order = gallery_ids.argsort(stable=True)
        gallery_ids = gallery_ids[self.order]
        self.begin = torch.searchsorted(gallery_ids, query_ids)
        self.end = torch.searchsorted(gallery_ids, query_ids, right=True)

    def same_person(self, rows: slice) -> tuple[Tensor, ...]:
        """Every pair of one person, as four vectors: the query within the
        block, the running number within that query, the gallery image, and
        whether it is ignored."""
        count = self.end[rows] - self.begin[rows]
        query = torch.repeat_interleave(count)
        number = torch.arange(len(query), device=query.device)
        number -= (count.cumsum(0) - count)[query]
        image = self.order[self.begin[rows][query] + number]
        if self.camera_rule == 'none':
            ignored = torch.zeros_like(image, dtype=torch.bool)
        else:
            ignored = self.gallery_cams[image] == self.query_cams[rows][query]
        return query, number, image, ignored

    def hide(self, scores: Tensor, rows: slice) -> None:
        """Move what every query of the block ignores to the end.

        Of the query's own person, that is left to :meth:`same_person`.
        """
        if self.camera_rule == 'cross':
            same = self.gallery_cams == self.query_cams[rows, None]
            scores.masked_fill_(same, torch.inf)


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
    scores, matches = scores.numpy(), matches.numpy()
    last = np.where(np.isfinite(matches), matches, -np.inf).max(1)
    side = 'right' if ties == 'pessimistic' else 'left'
    ahead = np.empty(matches.shape, np.int64)
    for row, score in enumerate(scores):
        nearer = score.take((score <= last[row]).nonzero()[0])
        nearer.sort()
        ahead[row] = nearer.searchsorted(matches[row], side)
    return torch.from_numpy(ahead)


def query_blocks(
    shape: tuple[int, int], chunk_size: int | None, shard: tuple[int, int]
) -> Iterator[slice]:
    """Slices of queries. Whole blocks are dealt out to the ranks, since the
    last bit of a matrix product depends on the block it is in."""
    num_query, num_gallery = shape
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f'chunk_size must be >= 1, got {chunk_size}.')
    size = chunk_size or min(_MAX_BLOCK, max(1, _MAX_PAIRS // num_gallery))
    process, world_size = shard
    for start in range(0, num_query, size)[process::world_size]:
        yield slice(start, min(start + size, num_query))


@torch.no_grad()
def rank(
    distance: FeatureDistance,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    query_cams: ArrayLike | None = None,
    gallery_cams: ArrayLike | None = None,
    ap: str = 'standard',
    camera_rule: str = 'standard',
    ties: str = 'pessimistic',
    num_neighbours: int = 0,
    chunk_size: int | None = None,
    shard: tuple[int, int] = (0, 1),
) -> RetrievalResult:
    r"""Rank the gallery for every query, by any distance.

    A gallery image of the query's person is a true match, unless it is
    ignored. What is ignored, the camera rule says:

    * ``'standard'``: images of the query's person *and* camera;
    * ``'none'``: nothing, for data without cameras;
    * ``'cross'``: all images of the query's camera, of other people too.

    With :math:`p_j` the 0-based rank of true match :math:`j = 0..n-1`, the
    average precision is :math:`\frac{1}{n} \sum_j a_j` with

    * ``'standard'``: :math:`a_j = r_j = \frac{j + 1}{p_j + 1}`, which most
      toolboxes report;
    * ``'trapezoid'``: :math:`a_j = (o_j + r_j) / 2` with
      :math:`o_j = j / p_j`, or 1 if :math:`p_j = 0`: the script that came
      with Market-1501;
    * ``'mar'``: the same, but :math:`o_j = 1` if :math:`j = 0`: the
      published code of MAR. A first match at a low rank still counts half,
      which flatters weak models; use it to compare with that paper only.

    Ties are pessimistic by default: an image of another person at exactly
    the distance of a true match ranks ahead of it, wherever either lies in
    the gallery. So a collapsed model scores worst, not by luck.
    ``'optimistic'`` ranks the true match ahead; the two differ only if there
    are ties.

    Args:
        distance (FeatureDistance): Of Q queries to G gallery images, or
            another object with its methods.
        query_ids (Tensor): Person ids. Shape (Q,).
        gallery_ids (Tensor): Person ids. Shape (G,).
        query_cams (Tensor, optional): Camera ids. Shape (Q,). Defaults to
            None, for the camera rule 'none'.
        gallery_cams (Tensor, optional): Camera ids. Shape (G,). Defaults to
            None.
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
        TypeError: If ids are not integers.
        ValueError: If shapes disagree, cameras are missing, or an option
            does not exist.
    """
    check_options(ap, camera_rule=camera_rule, ties=ties)
    device = distance.device
    num_query, num_gallery = distance.shape
    who = Matches(
        distance.shape,
        device,
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
        camera_rule,
    )

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
    for rows in query_blocks(distance.shape, chunk_size, shard):
        scores = distance.block(rows)
        query, number, image, ignored = who.same_person(rows)
        own = scores[query, image].masked_fill(ignored, torch.inf)
        who.hide(scores, rows)
        if num_neighbours:
            scores[query, image] = own
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
            match[query, image] = True
            result.correct[rows, :k] = match.gather(1, nearest.indices) & found

        num_slots = int(number.max()) + 1 if len(number) else 1
        matches = scores.new_full((len(scores), num_slots), torch.inf)
        matches[query, number] = own
        matches = matches.sort(dim=1).values
        num_matches = matches.isfinite().sum(1)
        # Beyond every true match, the query's own person counts for nobody.
        scores[query, image] = torch.inf
        hit = torch.arange(num_slots, device=device)
        position = _count_ahead(scores, matches, ties) + hit

        precision = AP_FORMULAS[ap](hit.double(), position.double())
        precision *= hit < num_matches[:, None]
        last = (num_matches - 1).clamp(min=0)[:, None]
        result.valid[rows] = num_matches > 0
        result.ap[rows] = precision.sum(1) / num_matches.clamp(min=1)
        rank_of_last = position.gather(1, last)[:, 0] + 1
        result.inp[rows] = num_matches.double() / rank_of_last
        result.first_rank[rows] = (position[:, 0] + 1) * (num_matches > 0)
    return result


def rank_queries(
    query_features: ArrayLike,
    gallery_features: ArrayLike,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    query_cams: ArrayLike | None = None,
    gallery_cams: ArrayLike | None = None,
    metric: str = 'cosine',
    **kwargs,
) -> RetrievalResult:
    """Rank the gallery for every query, by the distance of features.

    Distances are computed in float32, or in float64 if either input is.
    Inputs may be tensors on any device (features decide) or numpy arrays.

    Args:
        query_features (Tensor): Shape (Q, D), floating point.
        gallery_features (Tensor): Shape (G, D), floating point.
        query_ids (Tensor): Person ids. Shape (Q,).
        gallery_ids (Tensor): Person ids. Shape (G,).
        query_cams (Tensor, optional): Camera ids. Shape (Q,). Defaults to
            None.
        gallery_cams (Tensor, optional): Camera ids. Shape (G,). Defaults to
            None.
        metric (str): ``'cosine'`` (a zero vector has similarity 0 to all) or
            ``'euclidean'``. Defaults to 'cosine'.
        **kwargs: The options of :func:`rank`, which has the rules.

    Returns:
        RetrievalResult: See :func:`rank`.

    Raises:
        TypeError: If features are not floating point or ids not integers.
        ValueError: If shapes disagree, a set is empty, a feature is not
            finite, or an option does not exist.
    """
    return rank(
        FeatureDistance(query_features, gallery_features, metric),
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
        **kwargs,
    )


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
    **kwargs,
) -> dict[str, float]:
    """CMC, mAP and mINP of a query set against a gallery.

    The rules (what is ignored, AP formulas, ties) are those of :func:`rank`;
    this is the mean over the queries that have a true match.

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
    check_options(ap, topk)
    return rank_queries(
        query_features,
        gallery_features,
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
        metric,
        ap=ap,
        **kwargs,
    ).summary(topk)

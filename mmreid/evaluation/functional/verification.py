"""Are these two images of one person? ROC over all pairs, never held at once.

Every pair of query and gallery image is judged by one threshold, which no
ranking needs: distances of different queries have to be comparable. The true
pairs are few, and kept. All others are seen a block of queries at a time:
each block is sorted, and the true pairs, the edges of the histogram and the
nearest false pairs are looked up in it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmreid.errors import InputError
from mmreid.structures import FeatureSet, VerificationResult

from .distance import Distance, query_blocks
from .matches import Matches

__all__ = ['verify']

_MAX_FPR = 0.1


def _sort(values: Tensor) -> Tensor:
    """Ascending; on a CPU in place."""
    if values.device.type != 'cpu':
        return values.sort().values
    # Vectorised, unlike torch's: a sixteenth of the time or less.
    values.numpy().sort()
    return values


def _count(ordered: Tensor, edges: Tensor) -> Tensor:
    """How many of the ordered values lie in each bin, the last one closed."""
    before = torch.searchsorted(ordered, edges)
    before[-1] = len(ordered)
    return before.diff()


def _check(fpr: Sequence[float], num_bins: int) -> None:
    if not fpr or not all(0 < rate <= _MAX_FPR for rate in fpr):
        raise InputError(
            f'fpr must be false positive rates above 0, up to {_MAX_FPR}, '
            f'got {fpr!r}.'
        )
    if num_bins < 1:
        raise InputError(f'num_bins must be >= 1, got {num_bins}.')


@torch.no_grad()
def verify(
    distance: Distance,
    query: FeatureSet,
    gallery: FeatureSet,
    camera_rule: str = 'standard',
    fpr: Sequence[float] = (1e-4, 1e-3, 1e-2),
    num_bins: int = 200,
    chunk_size: int | None = None,
) -> VerificationResult:
    """ROC of telling whether two images show one person, and its histogram.

    The threshold of a false positive rate (FPR) is the largest distance t
    such that (negative pairs with distance <= t) / N <= FPR; its true
    positive rate (TPR) is (positive pairs with distance <= t) / P. So ties
    are pessimistic: of equal distances all are accepted, or none.

    All of it is exact. Every distance is computed twice, once to collect the
    positive pairs and once to count the negative pairs among them. Memory:
    two blocks; 40 bytes for each positive pair; and at most 16 bytes for each
    of the nearest ``max(fpr) * Q * G`` pairs (double in float64), 160 MB for
    10^9 pairs at 0.01. The Q x G matrix never exists.

    Args:
        distance (Distance): Of Q queries to G gallery images.
        query (FeatureSet): The queries: of both sets only the labels are
            used, for the distance has the features. Q images.
        gallery (FeatureSet): The gallery. G images.
        camera_rule (str): Which pairs are ignored, as in
            :func:`mmreid.evaluation.rank`: ``'standard'``, those of one
            person and one camera; ``'none'``; or ``'cross'``, all those of
            one camera. Defaults to 'standard'.
        fpr (Sequence[float]): False positive rates, up to 0.1. Defaults to
            (1e-4, 1e-3, 1e-2).
        num_bins (int): Of the histogram. Defaults to 200.
        chunk_size (int, optional): Queries per block. Defaults to None: as
            many as fit in about 200 MB, at most 256.

    Returns:
        VerificationResult: TPR and threshold at each FPR, AUC, ROC curve and
        histograms, on the CPU.

    Raises:
        InputError: If the distance is of other sets, persons or cameras are
            unknown, an option does not exist or is out of range, or there is
            no positive or no negative pair.
    """
    _check(fpr, num_bins)
    num_query, num_gallery = distance.shape
    who = Matches(distance, query, gallery, camera_rule)
    blocks = list(query_blocks(distance.shape, chunk_size, (0, 1)))

    positives: list[Tensor] = []
    extremes: list[Tensor] = []
    for rows in blocks:
        scores = distance.to_distances(distance.block(rows), rows)
        row, _, image, ignored = who.same_person(rows)
        positives.append(scores[row, image][~ignored])
        extremes += scores.aminmax()
    positive = _sort(torch.cat(positives))
    del positives
    if not len(positive):
        raise InputError(
            'No query has a gallery image of its person that is not ignored: '
            'check the person and camera ids (a gallery without camera labels '
            'needs a camera id that no query has).'
        )
    low, high = torch.stack(extremes).aminmax()
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = torch.linspace(
        low.item(), high.item(), num_bins + 1, dtype=low.dtype
    ).to(low.device)

    nearer = torch.zeros_like(positive, dtype=torch.int64)
    as_near = torch.zeros_like(nearer)
    counts = nearer.new_zeros(num_bins)
    # One more than may be accepted, for there is a positive pair too.
    num_kept = math.ceil(max(fpr) * num_query * num_gallery)
    nearest = positive.new_empty(0)
    for rows in blocks:
        scores = distance.to_distances(distance.block(rows), rows)
        row, _, image, _ = who.same_person(rows)
        who.hide(scores, rows)
        scores[row, image] = torch.inf
        negative = _sort(scores.reshape(-1))
        negative = negative[: torch.searchsorted(negative, torch.inf)]
        nearer += torch.searchsorted(negative, positive)
        as_near += torch.searchsorted(negative, positive, right=True)
        counts += _count(negative, edges)
        nearest = torch.cat([nearest, negative[:num_kept]])
        nearest = _sort(nearest)[:num_kept]

    num_positive, num_negative = len(positive), int(counts.sum())
    if not num_negative:
        raise InputError(
            'No query has a gallery image of another person that is not '
            'ignored: check the person and camera ids.'
        )
    tpr, threshold = {}, {}
    below = nearest.new_tensor(-torch.inf)
    for rate in fpr:
        # The product may be off by a rounding, the quotient decides.
        allowed = round(rate * num_negative)
        allowed -= allowed / num_negative > rate
        tpr[rate] = int((as_near <= allowed).sum()) / num_positive
        threshold[rate] = torch.nextafter(nearest[allowed], below).item()
    mistakes = int((nearer + as_near).sum())
    return VerificationResult(
        num_positive=num_positive,
        num_negative=num_negative,
        tpr=tpr,
        threshold=threshold,
        auc=1 - mistakes / (2 * num_positive * num_negative),
        false_positives=as_near.cpu(),
        bin_edges=edges.cpu(),
        positive_counts=_count(positive, edges).cpu(),
        negative_counts=counts.cpu(),
    )

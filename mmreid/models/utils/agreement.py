from collections.abc import Iterator
from itertools import count
from math import ceil, isqrt

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_dist_info
from torch import Tensor

from mmreid.errors import InputError
from mmreid.utils.progress import progress

# Below it, float32 leaves an agreement less than four digits.
FINE_BELOW = 2.0**-10


def pairwise_agreement(soft_multilabel: Tensor, fine: bool = False) -> Tensor:
    """Soft multilabel agreement of all pairs (Eq. 2).

    ``A(y_i, y_j) = sum_k min(y_i^k, y_j^k) = 1 - |y_i - y_j|_1 / 2``

    Args:
        soft_multilabel (Tensor): (N, N_p), rows that sum to one.
        fine (bool): Compute in float64, and with the sums that the rows
            really have: the difference leaves few digits of an agreement
            near 0. Defaults to False.

    Returns:
        Tensor: (N (N - 1) / 2, ), in the order of ``torch.pdist`` and the
        type of the labels.
    """
    if fine:
        rows = soft_multilabel.double()
        agreement = (_pair_sums(rows) - F.pdist(rows, p=1)) / 2
        return agreement.to(soft_multilabel)
    return 1 - F.pdist(soft_multilabel, p=1) / 2


@torch.no_grad()
def kth_largest_agreement(
    soft_multilabel: Tensor, k: int, chunk_size: int = 512
) -> Tensor:
    """The k-th largest agreement over all pairs of a data set, exactly.

    One pass over the pairs that keeps the k largest agreements so far. Memory
    beyond the soft multilabels is O(k + ``chunk_size``^2 + ``chunk_size``
    N_p): the list of the N^2 / 2 agreements is never held. The ranks of a
    distributed run, which must hold the same rows, share the work.

    Nothing is sampled or binned: the answer is off by no more than the
    float32 rounding of one agreement (about 3e-7 for 4,101 persons). If it
    is so small that this matters, the agreements are computed again in
    float64.

    Args:
        soft_multilabel (Tensor): (N, N_p), float32 or float64.
        k (int): 1-based rank, at most N (N - 1) / 2.
        chunk_size (int): Rows compared with each other at a time. Defaults
            to 512.

    Returns:
        Tensor: A scalar.

    Raises:
        InputError: If there is no such rank.
    """
    num = len(soft_multilabel)
    if not 1 <= k <= num * (num - 1) // 2:
        raise InputError(
            f'k must be between 1 and the number of pairs '
            f'{num * (num - 1) // 2}, but is {k}.'
        )
    rank, world_size = get_dist_info()
    fine = soft_multilabel.dtype == torch.float64
    blocks = list(_blocks(ceil(num / chunk_size)))
    best, least = soft_multilabel.new_empty(0, dtype=torch.float32), -1.0
    blocks = blocks[rank::world_size]
    with progress(f'Agreements of {num} images', len(blocks)) as advance:
        for block in blocks:
            agreement = _agreement(soft_multilabel, *block, fine)
            # Another pair at the least of the k changes nothing.
            best = torch.cat([best, agreement[agreement > least]])
            if len(best) >= 2 * k:
                best = best.topk(k, sorted=False).values
                least = best.min()
            advance()
    if world_size > 1:
        # As many on each rank; no agreement is -1.
        best = best.topk(min(k, len(best))).values
        padded = F.pad(best, (0, k - len(best)), value=-1)
        best = torch.cat(all_gather(padded))
    answer = best.topk(k).values[-1]
    if answer < FINE_BELOW and not fine:
        return kth_largest_agreement(soft_multilabel.double(), k, chunk_size)
    return answer


def _blocks(at_least: int) -> Iterator[tuple[int, list[int], bool]]:
    """Sets of chunks of rows, such that each two chunks meet exactly once.

    The chunks are the q^2 points (x, y) of an affine plane of prime order q,
    of which any two are on exactly one line, and the sets are its q^2 + q
    lines, each with q of them. So a function that compares all the rows of a
    set, such as ``torch.pdist``, compares few pairs twice: only those within
    a chunk, q + 1 times; of two chunks at a time it would be half of all.

    Args:
        at_least (int): The least q, so that a q-th of the rows is a set's.

    Yields:
        tuple: Number of chunks q^2, the set, and whether the pairs within
        its chunks count.
    """
    order = next(
        q
        for q in count(at_least)
        if all(q % divisor for divisor in range(2, isqrt(q) + 1))
    )
    places = range(order)
    for x in places:
        yield order**2, [x * order + y for y in places], True
    if order > 1:
        for slope in places:
            for shift in places:
                line = [
                    x * order + (slope * x + shift) % order for x in places
                ]
                yield order**2, line, False


def _agreement(
    labels: Tensor,
    num_chunks: int,
    chosen: list[int],
    within: bool,
    fine: bool,
) -> Tensor:
    """Agreements of the pairs of some chunks, flat, float32.

    ``torch.cdist`` computes each p=1 distance several times slower than
    ``torch.pdist``, so the pairs within the chunks are computed along, and
    dropped unless ``within``.
    """
    chunks = [labels[chunk::num_chunks] for chunk in chosen]
    rows = torch.cat(chunks)
    distance = _pdist(rows)
    if fine:
        agreement = (_pair_sums(rows) - distance) / 2
    else:
        agreement = 1 - distance / 2
    if not within:
        sizes = torch.tensor([len(chunk) for chunk in chunks])
        chunk = torch.arange(len(chunks)).repeat_interleave(sizes)
        chunk = chunk.to(rows.device)
        i, j = _pairs(rows)
        agreement = agreement[chunk[i] != chunk[j]]
    # Rounding may leave [0, 1] by an ulp; the clamp keeps the order.
    return agreement.clamp_(0, 1).float()


def _pdist(rows: Tensor) -> Tensor:
    """``|y_i - y_j|_1`` of all pairs, as ``torch.pdist`` orders them.

    In strips of columns that fit a core's cache; short sums also round less.
    """
    return sum(
        F.pdist(strip.contiguous(), p=1) for strip in rows.split(256, dim=1)
    )


def _pairs(rows: Tensor) -> tuple[Tensor, Tensor]:
    """First and second row of each pair, as ``torch.pdist`` orders them."""
    num = len(rows)
    i, j = torch.triu_indices(num, num, 1, device=rows.device)
    return i, j


def _pair_sums(rows: Tensor) -> Tensor:
    """Sum over the entries of both rows of each pair: 2 but for rounding."""
    sums, (i, j) = rows.sum(1), _pairs(rows)
    return sums[i] + sums[j]

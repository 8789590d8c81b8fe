from itertools import combinations_with_replacement

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_dist_info
from torch import Tensor

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
    soft_multilabel: Tensor, k: int, chunk_size: int = 256
) -> Tensor:
    """The k-th largest agreement over all pairs of a data set, exactly.

    A radix selection: float32 numbers in [0, 1] sort as their bit patterns
    do, so one pass counts the pairs by the upper 15 bits and a second one,
    within the bin that holds the k-th, by the lower 15. Memory beyond the
    soft multilabels is O(``chunk_size``^2 + ``chunk_size`` N_p): no list of
    the N^2 / 2 agreements is ever held. The ranks of a distributed run, which
    must hold the same rows, share the work.

    Nothing is sampled or binned: the answer is off by no more than the
    float32 rounding of one agreement (about 3e-7 for 4,101 persons). If it
    is so small that this matters, the agreements are computed again in
    float64.

    Args:
        soft_multilabel (Tensor): (N, N_p), float32 or float64.
        k (int): 1-based rank, at most N (N - 1) / 2.
        chunk_size (int): Rows compared with as many others at a time.
            Defaults to 256.

    Returns:
        Tensor: A scalar.

    Raises:
        ValueError: If there is no such rank.
    """
    num = len(soft_multilabel)
    if not 1 <= k <= num * (num - 1) // 2:
        raise ValueError(
            f'k must be between 1 and the number of pairs '
            f'{num * (num - 1) // 2}, but is {k}.'
        )
    rank, world_size = get_dist_info()
    fine = soft_multilabel.dtype == torch.float64
    bits, low_mask = 15, (1 << 15) - 1
    chunks = soft_multilabel.split(chunk_size)

    def patterns():
        blocks = list(combinations_with_replacement(range(len(chunks)), 2))
        for first, second in blocks[rank::world_size]:
            rows = chunks[first]
            if first != second:
                rows = torch.cat([rows, chunks[second]])
            distance = _pdist(rows)
            if fine:
                agreement = (_pair_sums(rows) - distance) / 2
            else:
                agreement = 1 - distance / 2
            if first != second:
                # ``torch.cdist`` computes each p=1 distance several times
                # slower than ``torch.pdist``, so the pairs within the chunks
                # are computed along and dropped.
                num = len(chunks[first])
                i, j = _pairs(rows)
                agreement = agreement[(i < num) & (j >= num)]
            # Rounding may leave [0, 1] by an ulp; the clamp keeps the order.
            yield agreement.clamp_(0, 1).float().view(torch.int32)

    def descending_bin(counts: Tensor, k: int) -> tuple[int, int]:
        all_reduce(counts)
        passed = counts.flip(0).cumsum(0)
        index = int(torch.searchsorted(passed, k))
        before = int(passed[index - 1]) if index else 0
        return len(counts) - 1 - index, k - before

    rank_wanted, device = k, soft_multilabel.device
    # 1.0 is 0x3F800000: 30 bits hold every pattern.
    counts = torch.zeros(1 << bits, dtype=torch.int64, device=device)
    for pattern in patterns():
        counts += torch.bincount(pattern >> bits, minlength=1 << bits)
    high, k = descending_bin(counts, k)
    counts.zero_()
    for pattern in patterns():
        low = pattern[(pattern >> bits) == high] & low_mask
        counts += torch.bincount(low, minlength=1 << bits)
    low, _ = descending_bin(counts, k)
    answer = torch.tensor(
        (high << bits) | low, dtype=torch.int32, device=device
    )
    answer = answer.view(torch.float32)
    if answer < FINE_BELOW and soft_multilabel.dtype != torch.float64:
        return kth_largest_agreement(
            soft_multilabel.double(), rank_wanted, chunk_size
        )
    return answer


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

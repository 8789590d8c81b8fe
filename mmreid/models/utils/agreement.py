import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_dist_info
from torch import Tensor


def pairwise_agreement(soft_multilabel: Tensor) -> Tensor:
    """Soft multilabel agreement of all pairs (Eq. 2).

    ``A(y_i, y_j) = sum_k min(y_i^k, y_j^k) = 1 - |y_i - y_j|_1 / 2``

    Args:
        soft_multilabel (Tensor): (N, N_p), rows that sum to one.

    Returns:
        Tensor: (N (N - 1) / 2, ), in the order of ``torch.pdist``.
    """
    return 1 - F.pdist(soft_multilabel, p=1) / 2


@torch.no_grad()
def kth_largest_agreement(
    soft_multilabel: Tensor, k: int, chunk_size: int = 256
) -> Tensor:
    """The k-th largest agreement over all pairs of a data set, exactly.

    A radix selection: float32 numbers in [0, 1] sort as their bit patterns
    do, so one pass counts the pairs by the upper 15 bits and a second one,
    within the bin that holds the k-th, by the lower 15. Memory beyond the
    soft multilabels is O(``chunk_size`` N): no list of the N^2 / 2
    agreements is ever held. The ranks of a distributed run, which must hold
    the same rows, share the work.

    Args:
        soft_multilabel (Tensor): (N, N_p) float32.
        k (int): 1-based rank, at most N (N - 1) / 2.
        chunk_size (int): Rows compared with all others at a time. Defaults
            to 256.

    Returns:
        Tensor: A scalar.
    """
    num = len(soft_multilabel)
    if not 1 <= k <= num * (num - 1) // 2:
        raise ValueError(
            f'k must be between 1 and the number of pairs '
            f'{num * (num - 1) // 2}, but is {k}.'
        )
    rank, world_size = get_dist_info()
    bits, low_mask = 15, (1 << 15) - 1

    def patterns():
        starts = range(0, num, chunk_size)
        for start in starts[rank::world_size]:
            rows = soft_multilabel[start : start + chunk_size].float()
            # Each pair once: row i against the columns after i.
            others = soft_multilabel[start:].float()
            agreement = 1 - torch.cdist(rows, others, p=1) / 2
            upper = torch.ones_like(agreement, dtype=torch.bool).triu(1)
            # Rounding may leave [0, 1] by an ulp; the clamp keeps the order.
            yield agreement[upper].clamp_(0, 1).view(torch.int32)

    def descending_bin(counts: Tensor, k: int) -> tuple[int, int]:
        all_reduce(counts)
        passed = counts.flip(0).cumsum(0)
        index = int(torch.searchsorted(passed, k))
        before = int(passed[index - 1]) if index else 0
        return len(counts) - 1 - index, k - before

    device = soft_multilabel.device
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
    return answer.view(torch.float32)

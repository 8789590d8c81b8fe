"""Sets of k-reciprocal neighbours as sparse matrices, and their overlap: what
re-ranking and the Jaccard distance of clusterings share."""

import warnings

import numpy as np
import torch
from scipy.sparse import csc_array, csr_array, vstack
from torch import Tensor

__all__ = [
    'expanded_sets',
    'nearest',
    'of_rows',
    'overlap',
    'reciprocal',
    'weigh',
]

# Pairs of entries taken at a time where only some count: what fits into the
# cache, for each is touched some twenty times.
_MAX_LISTED = 2**16
# Rows at a time of products whose factors are sparse, and they are not.
_ROWS = 2048


def nearest(scores: Tensor, k: int) -> Tensor:
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


def of_rows(
    columns: np.ndarray, value: float = 1, dtype: type = np.int32
) -> csr_array:
    """The value in some columns of every row.

    Args:
        columns (np.ndarray): No column twice in a row; -1 stands for none.
            Shape (N, k), int32.
        value (float): The value. Defaults to 1.
        dtype (type): Its type. Defaults to int32.

    Returns:
        csr_array: Shape (N, N).
    """
    num = len(columns)
    found = columns >= 0
    # int32 throughout: one int64 would make all that follows int64.
    starts = np.zeros(num + 1, np.int32)
    np.cumsum(found.sum(1), out=starts[1:])
    values = np.full(starts[-1], value, dtype)
    return csr_array((values, columns[found], starts), shape=(num, num))


def reciprocal(neighbours: np.ndarray) -> csr_array:
    """Who is among whose neighbours, both ways: a symmetric matrix of ones.

    Args:
        neighbours (np.ndarray): Of each image, -1 for none. Shape (N, k),
            int32.

    Returns:
        csr_array: Shape (N, N), at most k entries a row.
    """
    forward = of_rows(neighbours)
    return forward.multiply(forward.T).tocsr()


def expanded_sets(neighbours: np.ndarray, num_half: int) -> csr_array:
    """The sets R* of all images: non-zero where j is in R*(i).

    Args:
        neighbours (np.ndarray): Each image first, then its k1 neighbours.
            Shape (N, k1 + 1), int32.
        num_half (int): How many of these make the sets that are added.

    Returns:
        csr_array: Shape (N, N).
    """
    sets = reciprocal(neighbours)
    halves = reciprocal(neighbours[:, :num_half])
    sizes = np.diff(halves.indptr)
    parts = []
    for start in range(0, len(neighbours), _ROWS):
        own = sets[start : start + _ROWS]
        # |R(i) and half set of j|, for every j in R(i). Half sets are
        # symmetric, as all of these are, so a product counts what is in both.
        added = (own @ halves).multiply(own).tocsr()
        enough = 3 * added.data > 2 * sizes[added.indices]
        added.data = enough.astype(np.int32)
        added.eliminate_zeros()
        parts.append(own + added @ halves)
    return vstack(parts, format='csr')


def weigh(
    sets: csr_array,
    features: Tensor,
    row: Tensor,
    column: Tensor,
    scale: Tensor,
) -> csr_array:
    """V: the members of each set, weighed by exp(-d), of sum 1.

    Args:
        sets (csr_array): None of them empty. Shape (N, N).
        features (Tensor): x. Shape (N, D).
        row (Tensor): r of ``d_ij = [r_i + c_j - x_i x_j]_+ / s_i``, (N,).
        column (Tensor): c, (N,).
        scale (Tensor): s, (N,).

    Returns:
        csr_array: Shape (N, N).
    """
    counts = np.diff(sets.indptr)
    with warnings.catch_warnings():
        # That sparse tensors are in beta state.
        warnings.simplefilter('ignore', UserWarning)
        pattern = torch.sparse_csr_tensor(
            torch.from_numpy(sets.indptr),
            torch.from_numpy(sets.indices),
            torch.zeros(sets.nnz, dtype=features.dtype),
            sets.shape,
            device=features.device,
        )
        with torch.autocast(features.device.type, enabled=False):
            dot = torch.sparse.sampled_addmm(
                pattern, features, features.T, beta=0
            ).values()
    counted = torch.from_numpy(counts).to(features.device)
    distance = row.repeat_interleave(counted) - dot
    distance += column[torch.from_numpy(sets.indices).to(features.device)]
    distance.clamp_(min=0).div_(scale.repeat_interleave(counted))
    data = distance.neg_().exp_().cpu().numpy()
    data /= np.repeat(np.add.reduceat(data, sets.indptr[:-1]), counts)
    return csr_array((data, sets.indices, sets.indptr), sets.shape)


def overlap(rows: csr_array, columns: csc_array) -> Tensor:
    """How far weighed sets overlap: ``s_ij = sum_l min(a_il, b_jl)``.

    Args:
        rows (csr_array): a. Shape (Q, N).
        columns (csc_array): b, by its columns. Shape (G, N).

    Returns:
        Tensor: Shape (Q, G), of the type of both.
    """
    num_query, num_gallery = rows.shape[0], columns.shape[0]
    total = np.zeros(num_query * num_gallery, rows.dtype)
    query = np.repeat(np.arange(num_query), np.diff(rows.indptr))
    begin = columns.indptr[rows.indices].astype(np.int64)
    count = columns.indptr[rows.indices + 1] - begin
    end = count.cumsum()
    whole = torch.from_numpy(total)
    cuts = np.arange(_MAX_LISTED, end[-1] if len(end) else 0, _MAX_LISTED)
    for part in np.split(np.arange(len(count)), np.searchsorted(end, cuts)):
        entry = np.repeat(part, count[part])
        if len(entry):
            # The running number within the entry's list, in the list.
            number = np.arange(len(entry)) + end[entry[0]]
            number -= count[entry[0]]
            number += (begin + count - end)[entry]
            place = query[entry] * num_gallery + columns.indices[number]
            value = np.minimum(rows.data[entry], columns.data[number])
            whole.index_add_(
                0, torch.from_numpy(place), torch.from_numpy(value)
            )
    return whole.view(num_query, num_gallery)

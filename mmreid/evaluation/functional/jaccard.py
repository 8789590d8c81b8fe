"""How far images share their neighbours, for clusterings: the Jaccard distance
of a set with itself, without an ``N x N`` matrix."""

from collections.abc import Iterator

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from mmreid.errors import InputError
from mmreid.structures import FeatureSet
from mmreid.structures.feature_set import check_labels
from mmreid.utils.progress import progress

from .distance import (
    EqualColumns,
    as_features,
    normalise,
    query_blocks,
    with_squares,
)
from .k_reciprocal import (
    expanded_sets,
    nearest,
    of_rows,
    overlap,
    reciprocal,
    weigh,
)

__all__ = ['camera_aware_jaccard_graph', 'jaccard_graph']


def jaccard_graph(
    images: FeatureSet,
    radius: float,
    k1: int = 30,
    k2: int = 6,
    chunk_size: int | None = None,
) -> csr_array:
    r"""The Jaccard distances of a set of images that are within a radius.

    What clusterings of pseudo-labels take, after Zhong et al., "Re-ranking
    Person Re-identification with k-reciprocal Encoding" (CVPR 2017). With x of
    unit norm, :math:`d_{ij} = \|x_i - x_j\|^2`, the sets :math:`R^*` of
    :class:`KReciprocalDistance` and

    .. math:: V_{ij} = e^{-d_{ij}} / \sum_{l \in R^*(i)} e^{-d_{il}}

    for :math:`j \in R^*(i)`, else 0, :math:`\bar V_i` is the mean of the
    :math:`V_j` over i and its :math:`k_2 - 1` nearest, and the distance
    :math:`1 - s_{ij} / (2 - s_{ij})` with
    :math:`s_{ij} = \sum_l \min(\bar V_{il}, \bar V_{jl})`.

    It is not ``KReciprocalDistance(images, images)``, which counts each image
    twice. As in the published clusterings, d is not divided by the largest
    distance of its row, as it is for re-ranking. Ties are settled: an image is
    its own nearest, and of equally distant images the one of the lower index
    is nearer.

    One streamed pass over all pairs, on the device of the features, finds the
    neighbours; sets and distances are sparse, on the CPU.

    Args:
        images (FeatureSet): N images.
        radius (float): Largest distance that is kept, in (0, 1).
        k1 (int): Neighbours that have to be reciprocal. Defaults to 30.
        k2 (int): Images of the mean, the image itself among them; 1 is none.
            Defaults to 6.
        chunk_size (int, optional): Images per block of the pass over all
            pairs. Defaults to None: as many as make 2^24 pairs, at most 256.

    Returns:
        csr_array: The distances, (N, N), symmetric up to rounding: those of
        the radius or less, zeros included, each row's nearest first.

    Raises:
        InputError: If a feature is not finite, or an option is out of its
            range.

    Examples:
        >>> import torch
        >>> from mmreid.evaluation import jaccard_graph
        >>> from mmreid.structures import FeatureSet
        >>> angles = torch.tensor([0.0, 0.1, 1.5, 1.6])
        >>> images = FeatureSet(torch.stack([angles.cos(), angles.sin()], 1))
        >>> graph = jaccard_graph(images, radius=0.5, k1=1, k2=1)
        >>> graph.indices.tolist(), graph.indptr.tolist()
        ([0, 1, 1, 0, 2, 3, 3, 2], [0, 2, 4, 6, 8])
    """
    features = _unit_features(images)
    num = len(features)
    if not (int(k1) == k1 and int(k2) == k2 and 1 <= k2 <= k1 < num):
        raise InputError(
            'k1 and k2 must be whole numbers with 1 <= k2 <= k1, and k1 less '
            f'than the {num} images, got k1={k1} and k2={k2}.'
        )
    k1, k2 = int(k1), int(k2)
    neighbours = np.empty((num, k1 + 1), np.int32)
    for rows, scores in _all_scores(features, chunk_size):
        neighbours[rows] = nearest(scores, k1 + 1).cpu().numpy()
    sets = expanded_sets(neighbours, round(k1 / 2) + 1)
    mean = of_rows(neighbours[:, :k2], 1 / k2, np.float32)
    return _within(_mean_weights(sets, mean, features), radius)


def camera_aware_jaccard_graph(
    images: FeatureSet,
    radius: float,
    k1_intra: int = 5,
    k1_inter: int = 20,
    k2_intra: int = 2,
    k2_inter: int = 4,
    chunk_size: int | None = None,
) -> csr_array:
    r"""The camera-aware Jaccard distances that are within a radius.

    Of `CA-Jaccard: Camera-aware Jaccard Distance for Person
    Re-identification <https://arxiv.org/abs/2311.10605>`_ (CVPR 2024). Images
    of one camera, which resemble each other for that alone, no longer crowd
    out those of others: neighbours are sought within the camera of an image,
    and apart from them in all other cameras. With i the first of its own
    camera's list,

    * R(i) are its reciprocal neighbours among the first ``1 + k1_intra`` of
      its camera, and among the first ``k1_inter`` of the others; no set is
      expanded;
    * :math:`\bar V_i` is the mean of V over the first ``k2_intra`` of its
      camera, itself among them, and the first ``k2_inter`` of the others.

    Distances and V are those of :func:`jaccard_graph`. Where a camera has
    fewer images than are asked for, its list is as long as it can be; with
    one camera there are no others, and the lists of that one are all.

    The published code takes one more from the other cameras than its option
    says, and 3 and 3 for the mean in a training's first epoch; the text has
    neither.

    Args:
        images (FeatureSet): N images, with their cameras.
        radius (float): Largest distance that is kept, in (0, 1).
        k1_intra (int): Reciprocal neighbours of the own camera. Defaults to
            5.
        k1_inter (int): Reciprocal neighbours of other cameras. Defaults to
            20.
        k2_intra (int): Images of the mean of the own camera, the image
            itself among them, at least 1. Defaults to 2.
        k2_inter (int): Images of the mean of other cameras. Defaults to 4.
        chunk_size (int, optional): See :func:`jaccard_graph`.

    Returns:
        csr_array: See :func:`jaccard_graph`.

    Raises:
        InputError: If a feature is not finite, a camera unknown, or an
            option out of its range.
    """
    features = _unit_features(images)
    num = len(features)
    options = dict(
        k1_intra=(k1_intra, 1),
        k1_inter=(k1_inter, 1),
        k2_intra=(k2_intra, 1),
        k2_inter=(k2_inter, 0),
    )
    for name, (value, least) in options.items():
        if int(value) != value or value < least:
            raise InputError(
                f'{name} must be a whole number of {least} or more, got '
                f'{value}.'
            )
    if images.camera_id is None or (images.camera_id < 0).any():
        raise InputError(
            f'The cameras of these {num} images are unknown, so no distance '
            'can heed them: give each image its camera, or take the plain '
            'Jaccard distance.'
        )
    check_labels('camera_id', images.camera_id, num)
    camera_id = images.camera_id.to(features.device)
    num_intra = min(max(1 + k1_intra, k2_intra), num)
    num_inter = min(max(k1_inter, k2_inter), num)
    intra = np.empty((num, num_intra), np.int32)
    inter = np.empty((num, num_inter), np.int32)
    for rows, scores in _all_scores(features, chunk_size):
        same = camera_id[rows, None] == camera_id
        intra[rows] = _nearest_of(scores, same, num_intra)
        inter[rows] = _nearest_of(scores, ~same, num_inter)
    sets = reciprocal(intra[:, : 1 + k1_intra])
    sets = sets.maximum(reciprocal(inter[:, :k1_inter])).tocsr()
    mean = of_rows(
        np.concatenate([intra[:, :k2_intra], inter[:, :k2_inter]], 1)
    ).astype(np.float32)
    counts = np.diff(mean.indptr)
    mean.data /= np.repeat(counts, counts)
    return _within(_mean_weights(sets, mean, features), radius)


def _unit_features(images: FeatureSet) -> Tensor:
    """Features to compare, (N, D) float32 or float64, of unit norm.

    Those that are so already, as a network's are, are not copied.
    """
    features, squares = with_squares(
        'features', as_features('features', images.features)
    )
    if (squares - 1).abs().max() < 1e-5:
        return features
    return normalise(features, squares)


def _all_scores(
    features: Tensor, chunk_size: int | None
) -> Iterator[tuple[slice, Tensor]]:
    """Minus the cosines of a block of images to all, of each to itself -inf.

    Yields:
        tuple[slice, Tensor]: The block, and (r, N).
    """
    num = len(features)
    equal_columns = EqualColumns(features)
    blocks = list(query_blocks((num, num), chunk_size, (0, 1)))
    with progress(f'Neighbours of {num} images', len(blocks)) as advance:
        for rows in blocks:
            # Under autocast, bf16 would turn near neighbours into ties.
            with torch.autocast(features.device.type, enabled=False):
                scores = torch.mm(-features[rows], features.T)
            scores = equal_columns(scores)
            scores.diagonal(rows.start).fill_(-torch.inf)
            yield rows, scores
            advance()


def _nearest_of(scores: Tensor, allowed: Tensor, k: int) -> np.ndarray:
    """Each row's k nearest of the allowed ones, -1 where there are fewer.

    Args:
        scores (Tensor): Shape (r, N).
        allowed (Tensor): Shape (r, N), bool.
        k (int): At most N.

    Returns:
        np.ndarray: Shape (r, k), int32.
    """
    scores = scores.masked_fill(~allowed, torch.inf)
    found = nearest(scores, k)
    found = found.where(scores.gather(1, found) < torch.inf, -1)
    return found.int().cpu().numpy()


def _mean_weights(
    sets: csr_array, mean: csr_array, features: Tensor
) -> csr_array:
    r""":math:`\bar V`: the weights of the sets, averaged as ``mean`` says."""
    # |x - y|^2 = (1/2 + 1/2 - x y) / (1/2) of unit vectors.
    half = torch.full_like(features[:, 0], 0.5)
    weights = weigh(sets, features, half, half, half)
    return (mean.astype(weights.dtype) @ weights).tocsr()


def _within(weights: csr_array, radius: float) -> csr_array:
    """Jaccard distances of the radius or less."""
    if not 0 < radius < 1:
        raise InputError(
            f'The radius of a Jaccard distance must be in (0, 1), got '
            f'{radius}.'
        )
    num = weights.shape[0]
    columns = weights.tocsc()
    counts = np.zeros(num, np.int64)
    neighbours, distances = [], []
    blocks = list(query_blocks((num, num), None, (0, 1)))
    what = f'Jaccard distances of {num} images'
    with progress(what, len(blocks)) as advance:
        for rows in blocks:
            share = overlap(weights[rows], columns)
            distance = share.div_(share - 2).add_(1).clamp_(min=0)
            # Its own, but for rounding.
            distance.diagonal(rows.start).zero_()
            row, column = (distance <= radius).nonzero(as_tuple=True)
            found = distance[row, column]
            order = _by_row(row, found)
            counts[rows] = row.bincount(minlength=rows.stop - rows.start)
            neighbours.append(column[order].int().numpy())
            distances.append(found[order].numpy())
            advance()
    starts = np.concatenate([[0], counts.cumsum()])
    if starts[-1] < 2**31:
        starts = starts.astype(np.int32)
    return csr_array(
        (np.concatenate(distances), np.concatenate(neighbours), starts),
        shape=(num, num),
    )


def _by_row(row: Tensor, distance: Tensor) -> Tensor:
    """An order by row, and within a row by distance."""
    order = distance.sort(stable=True).indices
    return order[row[order].sort(stable=True).indices]

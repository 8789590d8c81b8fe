import torch
from torch import Tensor

from mmreid.errors import InputError
from mmreid.structures import FeatureSet
from mmreid.utils.progress import progress

from .distance import FeatureDistance, query_blocks

__all__ = ['nearest_pairs']


@torch.no_grad()
def nearest_pairs(
    images: FeatureSet,
    num: int,
    metric: str = 'cosine',
    chunk_size: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest pairs of all that a set of images makes.

    One pass over the pairs that keeps the nearest so far: the N x N matrix is
    never held.

    Args:
        images (FeatureSet): N images; only the features are read.
        num (int): How many pairs k, at most N (N - 1) / 2. Which of several
            pairs at the distance of the last one are kept is not defined.
        metric (str): ``'cosine'`` or ``'euclidean'``. Defaults to 'cosine'.
        chunk_size (int, optional): Images per block. Defaults to None: as
            many as make 2^24 pairs, at most 256.

    Returns:
        tuple[Tensor, Tensor, Tensor]: First image, second image, of the
        higher index, and distance of each pair, each (k, ), nearest first.

    Raises:
        InputError: If there are not as many pairs, a feature is not finite,
            or the metric does not exist.
    """
    num_pairs = len(images) * (len(images) - 1) // 2
    if not 1 <= num <= num_pairs:
        raise InputError(
            f'num must be between 1 and the {num_pairs} pairs of '
            f'{len(images)} images, got {num}.'
        )
    distance = FeatureDistance(images, images, metric)
    index = torch.arange(len(images), device=distance.device)
    best = torch.empty(0, device=distance.device)
    pairs = index.new_empty(2, 0)
    farthest = torch.inf

    def keep() -> None:
        nonlocal best, pairs
        # In the order of the images, by which equal distances are sorted.
        chosen = best.topk(num, largest=False, sorted=False).indices
        chosen = chosen.sort().values
        best, pairs = best[chosen], pairs[:, chosen]

    blocks = list(query_blocks(distance.shape, chunk_size, (0, 1)))
    what = f'Nearest pairs of {len(images)} images'
    with progress(what, len(blocks)) as advance:
        for rows in blocks:
            scores = distance.to_distances(distance.block(rows), rows)
            # Another pair as far as the last one changes nothing.
            near = (scores < farthest) & (index > index[rows, None])
            first, second = near.nonzero(as_tuple=True)
            best = torch.cat([best.to(scores), scores[first, second]])
            found = torch.stack([first + rows.start, second])
            pairs = torch.cat([pairs, found], dim=1)
            if len(best) >= 2 * num:
                keep()
                farthest = best.max().item()
            advance()
    keep()
    best, order = best.sort(stable=True)
    return pairs[0, order], pairs[1, order], best

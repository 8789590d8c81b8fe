"""What one can know of features without a label."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmreid.structures import FeatureSet
from mmreid.utils.progress import progress

from .functional.distance import FeatureDistance, query_blocks

__all__ = ['neighbour_report']

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@torch.no_grad()
def neighbour_report(
    images: FeatureSet,
    metric: str = 'cosine',
    agreement: Callable[[Tensor, Tensor], Tensor] | None = None,
    chunk_size: int | None = None,
) -> dict:
    """Say how images lie to each other, without their persons.

    Nothing of it is an accuracy. Where a model has not learned the target, an
    image's nearest neighbour is mostly of the same camera: the background and
    the light are nearer than the person. Training should move the first share
    towards chance, and the second one up; a collapsed model can do so, too.

    Images of unknown cameras (-1) are left out. Of equally near images the
    one of the lower index counts as nearer.

    Args:
        images (FeatureSet): N images; persons are not read.
        metric (str): 'cosine' or 'euclidean'. Defaults to 'cosine'.
        agreement (Callable, optional): What the algorithm itself says of
            pairs: images i, (P, ), and j, (P, ), to one number each, (P, ).
            Defaults to None.
        chunk_size (int, optional): Images per block. Defaults to None: as
            many as make 2^24 pairs, at most 256. The N x N matrix is never
            held.

    Returns:
        dict: Plain numbers:

        - ``num_images`` and ``num_cameras`` (0 if they are unknown);
        - with two cameras or more, in percent of the images:
          ``nearest_across_cameras``, those whose nearest other image is of
          another camera; ``by_chance``, what this would be if every other
          image were equally likely to be the nearest; and
          ``mutual_across_cameras``, those that are the nearest image across
          cameras of their own nearest image across cameras;
        - with ``agreement``: ``agreement``, its quantiles (0.1, 0.25, 0.5,
          0.75, 0.9) over the pairs of each image and its nearest one across
          cameras, or its nearest other one where there is one camera.

    Raises:
        InputError: If a feature is not finite, or the metric does not exist.

    Examples:
        >>> import torch
        >>> from mmreid.evaluation import neighbour_report
        >>> from mmreid.structures import FeatureSet
        >>> features = torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1], [0.3, 1]])
        >>> images = FeatureSet(features, camera_id=torch.tensor([0, 1, 0, 0]))
        >>> neighbour_report(images)['nearest_across_cameras']
        50.0
    """
    index = torch.arange(len(images), device=images.features.device)
    camera_id = images.camera_id
    if camera_id is not None:
        camera_id = camera_id.to(index.device)
        index = index[camera_id >= 0]
        images, camera_id = images.take(index), camera_id[index]
    num = len(images)
    sizes = index[:0]
    if camera_id is not None:
        sizes = camera_id.unique(return_counts=True)[1]
    report: dict[str, Any] = dict(num_images=num, num_cameras=len(sizes))
    if len(sizes) < 2:
        camera_id = None
    if num < 2 or (camera_id is None and agreement is None):
        return report
    nearest, across = _nearest(images, camera_id, metric, chunk_size)
    if camera_id is not None:
        crosses = camera_id[nearest] != camera_id
        expected = (sizes * (num - sizes)).sum().item() / (num * (num - 1))
        mutual = across[across] == torch.arange(num, device=across.device)
        report |= dict(
            nearest_across_cameras=100 * crosses.double().mean().item(),
            by_chance=100 * expected,
            mutual_across_cameras=100 * mutual.double().mean().item(),
        )
    if agreement is not None:
        found = agreement(index, index[across])
        levels = (
            found.double()
            .cpu()
            .quantile(torch.tensor(QUANTILES, dtype=torch.float64))
        )
        report['agreement'] = levels.tolist()
    return report


def _nearest(
    images: FeatureSet,
    camera_id: Tensor | None,
    metric: str,
    chunk_size: int | None,
) -> tuple[Tensor, Tensor]:
    """The nearest other image, and the nearest of another camera.

    Args:
        images (FeatureSet): N images.
        camera_id (Tensor, optional): (N, ), of two cameras or more.
        metric (str): See :func:`neighbour_report`.
        chunk_size (int, optional): See there.

    Returns:
        tuple[Tensor, Tensor]: (N, ) each; the same without cameras.
    """
    distance = FeatureDistance(images, images, metric)
    blocks = list(query_blocks(distance.shape, chunk_size, (0, 1)))
    nearest, across = [], []
    what = f'Neighbours of {len(images)} images'
    with progress(what, len(blocks)) as advance:
        for rows in blocks:
            scores = distance.block(rows)
            scores.diagonal(rows.start).fill_(torch.inf)
            nearest.append(scores.argmin(1))
            if camera_id is not None:
                same = camera_id[rows, None] == camera_id
                across.append(scores.masked_fill_(same, torch.inf).argmin(1))
            advance()
    return torch.cat(nearest), torch.cat(across or nearest)

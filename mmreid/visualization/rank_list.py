"""Pictures of what the gallery answers to a query."""

from pathlib import Path

import numpy as np
from torch import Tensor

from mmreid.errors import InputError
from mmreid.structures import FeatureSet
from mmreid.structures.feature_set import count_persons
from mmreid.utils.progress import progress

from .sheet import (
    BORDER,
    CAPTION,
    HEAD,
    MARGIN,
    NEUTRAL,
    PAD,
    RIGHT,
    WRONG,
    Sheet,
)

__all__ = ['draw_rank_list']

GAP, LEGEND = 28, 240


def draw_rank_list(
    query: FeatureSet,
    gallery: FeatureSet,
    neighbours: Tensor | np.ndarray,
    out_file: str | Path,
    title: str | None = None,
    image_size: tuple[int, int] = (64, 128),
) -> None:
    """Draw one row per query: the query, then its nearest gallery images.

    An image of the query's person has a green frame and a tick, another
    person's an orange-red frame and a cross. Where the persons of either set
    are unknown, or all images show one, all frames are grey. Pass only the
    queries to be drawn: the picture has one row for each.

    Args:
        query (FeatureSet): Q images with their paths. Camera ids, of either
            set, are written below the images.
        gallery (FeatureSet): G images with their paths.
        neighbours (Tensor): Gallery indices, nearest first, as in a
            :class:`mmreid.structures.RetrievalResult`; -1 leaves a place
            empty. Shape (Q, k).
        out_file (str): The picture to write, for instance a .png. Its
            folder is made if it is missing.
        title (str, optional): Headline. Defaults to None.
        image_size (tuple[int, int]): Width and height at which each image is
            shown. Defaults to (64, 128).

    Raises:
        InputError: If the paths of a set are unknown, or the neighbours are
            not those of the sets.
        UnreadableImageError: If an image cannot be read.
    """
    files = []
    for side, images in (('query', query), ('gallery', gallery)):
        if images.paths is None:
            raise InputError(
                f'The {side} images cannot be drawn without their files: give '
                f'the {side} set its paths.'
            )
        files.append(images.paths)
    neighbours = np.asarray(neighbours)
    _check(neighbours, len(query), len(gallery))
    # Of one person every neighbour would be right, whoever it shows.
    persons_known = count_persons(query, gallery) > 1

    width, height = image_size
    step_x = width + 2 * BORDER + PAD
    step_y = height + 2 * BORDER + CAPTION + PAD
    top = MARGIN + (HEAD if title else 0) + HEAD
    total_width = 2 * MARGIN + step_x * (1 + neighbours.shape[1]) + GAP
    total_height = top + step_y * len(query)
    if persons_known:
        total_width = max(total_width, 2 * MARGIN + LEGEND)
        total_height += HEAD + 8
    sheet = Sheet(total_width, total_height, image_size, title)

    def left(rank: int) -> int:
        """Of the frame of the query (rank 0) or of a neighbour (1..k)."""
        return MARGIN + rank * step_x + (GAP if rank else 0)

    for rank in range(neighbours.shape[1] + 1):
        centre = left(rank) + BORDER + width / 2
        sheet.text(centre, top - 12, str(rank) if rank else 'query', size=9)

    with progress(f'Drawing {len(query)} rows', len(query)) as advance:
        for row, found in enumerate(neighbours):
            y = top + row * step_y
            for rank, index in enumerate([row, *found]):
                images = gallery if rank else query
                x = left(rank)
                if index < 0:
                    sheet.image(x, y, None)
                    continue
                color, is_judged = NEUTRAL, rank > 0 and persons_known
                if is_judged:
                    right = bool(
                        gallery.known_person_id()[index]
                        == query.known_person_id()[row]
                    )
                    color = RIGHT if right else WRONG
                camera = None
                if images.camera_id is not None:
                    camera = f'camera {int(images.camera_id[index])}'
                path = files[rank > 0][index]
                sheet.image(x, y, path, color, camera)
                if is_judged:
                    sheet.mark(x + BORDER + 9, y + BORDER + 9, right)
            advance()

    if persons_known:
        sheet.legend('same person', 'another person')
    sheet.save(out_file)


def _check(neighbours: np.ndarray, num_query: int, num_gallery: int) -> None:
    if (
        neighbours.ndim != 2
        or 0 in neighbours.shape
        or len(neighbours) != num_query
    ):
        raise InputError(
            f'neighbours must have one row per query, ({num_query}, k), got '
            f'shape {neighbours.shape}.'
        )
    if neighbours.max() >= num_gallery:
        raise InputError(
            f'neighbours holds the index {neighbours.max()}, but there are '
            f'only {num_gallery} gallery images.'
        )

"""Pictures of what the gallery answers to a query."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from mmreid.datasets.transforms import read_image
from mmreid.errors import InputError
from mmreid.structures import FeatureSet
from mmreid.structures.feature_set import count_persons
from mmreid.utils.progress import progress

__all__ = ['draw_rank_list']

# Told apart with any colour vision (Okabe and Ito), and by mark besides.
_RIGHT, _WRONG, _NEUTRAL = '#009E73', '#D55E00', '#444444'
_EMPTY = 0.93
_BORDER, _PAD, _GAP, _CAPTION, _HEAD, _MARGIN = 4, 8, 28, 16, 24, 16
_LEGEND = 240


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
    step_x = width + 2 * _BORDER + _PAD
    step_y = height + 2 * _BORDER + _CAPTION + _PAD
    top = _MARGIN + (_HEAD if title else 0) + _HEAD
    total_width = 2 * _MARGIN + step_x * (1 + neighbours.shape[1]) + _GAP
    total_height = top + step_y * len(query)
    if persons_known:
        total_width = max(total_width, 2 * _MARGIN + _LEGEND)
        total_height += _HEAD + 8
    canvas = np.ones((total_height, total_width, 3), np.float32)
    figure, axes = _page(total_width, total_height)

    def left(rank: int) -> int:
        """Of the frame of the query (rank 0) or of a neighbour (1..k)."""
        return _MARGIN + rank * step_x + (_GAP if rank else 0)

    def text(x: float, y: float, content: str, **style: Any) -> None:
        style = dict(size=8, color=_NEUTRAL, ha='center', va='center') | style
        axes.text(x, y, content, None, **style)

    if title:
        text(_MARGIN, _MARGIN + 6, title, size=12, weight='bold', ha='left')
    for rank in range(neighbours.shape[1] + 1):
        centre = left(rank) + _BORDER + width / 2
        text(centre, top - 12, str(rank) if rank else 'query', size=9)

    with progress(f'Drawing {len(query)} rows', len(query)) as advance:
        for row, found in enumerate(neighbours):
            y = top + row * step_y
            for rank, index in enumerate([row, *found]):
                images = gallery if rank else query
                x = left(rank)
                inner = np.s_[
                    y + _BORDER : y + _BORDER + height,
                    x + _BORDER : x + _BORDER + width,
                ]
                if index < 0:
                    canvas[inner] = _EMPTY
                    continue
                color, is_judged = _NEUTRAL, rank > 0 and persons_known
                if is_judged:
                    right = bool(
                        gallery.known_person_id()[index]
                        == query.known_person_id()[row]
                    )
                    color = _RIGHT if right else _WRONG
                frame = canvas[
                    y : y + height + 2 * _BORDER, x : x + width + 2 * _BORDER
                ]
                frame[:] = _rgb(color)
                canvas[inner] = _read(files[rank > 0][index], image_size)
                if is_judged:
                    _mark(axes, x + _BORDER + 9, y + _BORDER + 9, right)
                if images.camera_id is not None:
                    text(
                        x + _BORDER + width / 2,
                        y + height + 2 * _BORDER + _CAPTION / 2,
                        f'camera {int(images.camera_id[index])}',
                    )
            advance()

    if persons_known:
        y = total_height - 20
        for x, right, meaning in (
            (_MARGIN, True, 'same person'),
            (_MARGIN + 120, False, 'another person'),
        ):
            _mark(axes, x + 8, y, right)
            text(x + 22, y, meaning, size=9, ha='left')

    axes.imshow(
        canvas,
        extent=(0, total_width, total_height, 0),
        interpolation='nearest',
    )
    Path(out_file).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file)


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


def _page(width: int, height: int) -> tuple[Figure, Axes]:
    """A figure without pyplot's global state, whose unit is the pixel."""
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure, axes


def _rgb(color: str) -> list[float]:
    return [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def _read(path: str | Path, size: tuple[int, int]) -> np.ndarray:
    """An image as RGB in 0..1. Shape (H, W, 3)."""
    image = cv2.resize(read_image(path), size, interpolation=cv2.INTER_AREA)
    return image[..., ::-1] / np.float32(255)


def _mark(axes: Axes, x: float, y: float, right: bool) -> None:
    """A disc with a tick or a cross, drawn so that no font is needed."""
    style: dict[str, Any] = dict(
        color='white', linewidth=1.6, solid_capstyle='round'
    )
    axes.plot(
        x,
        y,
        'o',
        color=_RIGHT if right else _WRONG,
        markersize=11,
        markeredgecolor='white',
        markeredgewidth=1,
    )
    if right:
        axes.plot([x - 3, x - 1, x + 3.5], [y, y + 2.5, y - 3], **style)
    else:
        axes.plot([x - 2.5, x + 2.5], [y - 2.5, y + 2.5], **style)
        axes.plot([x - 2.5, x + 2.5], [y + 2.5, y - 2.5], **style)

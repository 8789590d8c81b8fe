"""Pictures of pairs that look alike, and of whom each image resembles."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmreid.errors import InputError

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

__all__ = ['SimilarPair', 'draw_similar_pairs']

GAP, LEGEND = 28, 340
REFERENCE = '#BBBBBB'


@dataclass
class SimilarPair:
    """Two images, and the reference persons that each resembles most.

    Attributes:
        paths (Sequence[str]): The two images.
        references (Sequence[Sequence[tuple[str, float]]]): For each of the
            two an image of each reference person, with the entry of the soft
            multilabel, the largest first.
        similarity (float): Cosine of the features.
        agreement (float): Soft multilabel agreement (Eq. 2 of MAR).
        cameras (Sequence[int], optional): Of the two images. Defaults to
            None.
        same_person (bool, optional): Whether they show one person. Defaults
            to None, where nobody knows.
    """

    paths: Sequence[str]
    references: Sequence[Sequence[tuple[str, float]]]
    similarity: float
    agreement: float
    cameras: Sequence[int] | None = None
    same_person: bool | None = None


def draw_similar_pairs(
    pairs: Sequence[SimilarPair],
    out_file: str | Path,
    title: str | None = None,
    columns: int = 3,
    image_size: tuple[int, int] = (64, 128),
) -> None:
    """Draw pairs taken for hard negatives (Fig. 5 of MAR).

    The two images of a pair stand one below the other, and right of each the
    reference persons of its largest soft multilabel entries, with the
    entries. Where the persons are known, a pair that shows two of them has
    green frames and a tick, one that shows a single person has orange-red
    frames and a cross: it was mined wrongly.

    Args:
        pairs (Sequence[SimilarPair]): The pairs, equally many references for
            each image.
        out_file (str): The picture to write, for instance a .png. Its
            folder is made if it is missing.
        title (str, optional): Headline. Defaults to None.
        columns (int): Pairs side by side. Defaults to 3.
        image_size (tuple[int, int]): Width and height at which each image is
            shown. Defaults to (64, 128).

    Raises:
        InputError: If there is no pair.
        UnreadableImageError: If an image cannot be read.
    """
    if not pairs:
        raise InputError('There is no pair to draw.')
    width, height = image_size
    columns = min(columns, len(pairs))
    rows = -(-len(pairs) // columns)
    num_references = max(len(r) for pair in pairs for r in pair.references)
    step_x = width + 2 * BORDER + PAD
    step_y = height + 2 * BORDER + CAPTION + PAD
    pair_width = (1 + num_references) * step_x + GAP
    pair_height = HEAD + 2 * step_y + PAD
    top = MARGIN + (HEAD if title else 0)
    judged = any(pair.same_person is not None for pair in pairs)
    sheet = Sheet(
        max(MARGIN + columns * pair_width, 2 * MARGIN + LEGEND * judged),
        top + rows * pair_height + (HEAD + 8) * judged,
        image_size,
        title,
    )
    for number, pair in enumerate(pairs):
        x = MARGIN + number % columns * pair_width
        y = top + number // columns * pair_height
        sheet.text(
            x,
            y + HEAD / 2,
            f'cosine {pair.similarity:.3f}, agreement {pair.agreement:.3f}',
            size=9,
            ha='left',
        )
        color = NEUTRAL
        if pair.same_person is not None:
            color = WRONG if pair.same_person else RIGHT
        for row in range(2):
            line = y + HEAD + row * step_y
            camera = None
            if pair.cameras is not None:
                camera = f'camera {pair.cameras[row]}'
            sheet.image(x, line, pair.paths[row], color, camera)
            if pair.same_person is not None:
                sheet.mark(
                    x + BORDER + 9, line + BORDER + 9, not pair.same_person
                )
            for place, (path, entry) in enumerate(pair.references[row]):
                sheet.image(
                    x + (1 + place) * step_x + PAD,
                    line,
                    path,
                    REFERENCE,
                    f'{entry:.3g}',
                )
    if judged:
        sheet.legend('two persons: a hard negative', 'one person', step=240)
    sheet.save(out_file)

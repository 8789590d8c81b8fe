"""Pictures of the attributes that a model sees on images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmreid.errors import InputError

from .sheet import BORDER, CAPTION, HEAD, MARGIN, NEUTRAL, PAD, Sheet

__all__ = ['AttributedImage', 'draw_attributes']

LINE, NAMES, BAR, LEGEND = 14, 110, 40, 340
BAR_COLOR, RAIL_COLOR = '#0072B2', '#DDDDDD'


@dataclass
class AttributedImage:
    """An image with what a model says of it.

    Attributes:
        path (str): The image.
        scores (Sequence[float]): Probability of each of the m attributes.
        labels (Sequence[int], optional): Annotation of each: 1, 0 or,
            unknown, -1. Defaults to None, where there is none.
        caption (str, optional): Written below. Defaults to None.
    """

    path: str
    scores: Sequence[float]
    labels: Sequence[int] | None = None
    caption: str | None = None

    def shown(self) -> list[int]:
        """The attributes that are drawn: those predicted, above 0.5, and
        those that are missed, the most probable first."""
        labels = self.labels or [-1] * len(self.scores)
        chosen = [
            index
            for index, (score, label) in enumerate(
                zip(self.scores, labels, strict=True)
            )
            if score > 0.5 or label == 1
        ]
        return sorted(chosen, key=lambda index: -self.scores[index])


def draw_attributes(
    rows: Sequence[Sequence[AttributedImage]],
    names: Sequence[str],
    out_file: str | Path,
    title: str | None = None,
    columns: int = 2,
    image_size: tuple[int, int] = (64, 128),
) -> None:
    """Draw images with their predicted attributes (Fig. 3 of TJ-AIDL).

    Right of each image stand the attributes of a probability above 0.5, each
    with the probability as a number and a bar. Where they are annotated, a
    tick says that the person has the attribute, a cross that he or she has
    it not; attributes that the model misses, of 0.5 or below, stand there
    with a cross, too.

    Args:
        rows (Sequence[Sequence[AttributedImage]]): The images that stand
            side by side, for instance two of one person.
        names (Sequence[str]): Of the m attributes.
        out_file (str): The picture to write, for instance a .png. Its
            folder is made if it is missing.
        title (str, optional): Headline. Defaults to None.
        columns (int): Rows side by side. Defaults to 2.
        image_size (tuple[int, int]): Width and height at which each image is
            shown. Defaults to (64, 128).

    Raises:
        InputError: If there is no image, or the scores are not m.
        UnreadableImageError: If an image cannot be read.
    """
    images = [image for row in rows for image in row]
    if not images:
        raise InputError('There is no image to draw.')
    wrong = [i for i in images if len(i.scores) != len(names)]
    if wrong:
        raise InputError(
            f'names must hold one name for each of the {len(wrong[0].scores)} '
            f'attributes, got {len(names)}.'
        )
    width, height = image_size
    step_x = width + 2 * BORDER + PAD + LINE + NAMES + BAR + 3 * PAD
    across = max(map(len, rows))
    columns = min(columns, len(rows))
    lines = -(-len(rows) // columns)
    most = max(len(image.shown()) for image in images)
    step_y = max(height + 2 * BORDER + CAPTION, most * LINE) + 2 * PAD
    top = MARGIN + (HEAD if title else 0)
    judged = any(
        label >= 0 for image in images for label in image.labels or ()
    )
    # A person's images stand nearer to each other than to the next one's.
    step_row = across * step_x + 2 * PAD
    sheet = Sheet(
        max(MARGIN + columns * step_row, 2 * MARGIN + LEGEND * judged),
        top + lines * step_y + (HEAD + 8) * judged,
        image_size,
        title,
    )
    for number, row in enumerate(rows):
        x = MARGIN + number % columns * step_row
        y = top + number // columns * step_y
        for place, image in enumerate(row):
            left = x + place * step_x
            sheet.image(left, y, image.path, NEUTRAL, image.caption)
            left += width + 2 * BORDER + PAD
            _draw_list(sheet, left, y, image, names)
    if judged:
        sheet.legend('right', 'wrong: said and not there, or missed', step=80)
    sheet.save(out_file)


def _draw_list(
    sheet: Sheet,
    x: int,
    y: int,
    image: AttributedImage,
    names: Sequence[str],
) -> None:
    """The lines beside an image, from its upper right corner on."""
    for number, index in enumerate(image.shown()):
        middle = y + BORDER + number * LINE + LINE // 2
        score = image.scores[index]
        if image.labels is not None and image.labels[index] >= 0:
            said = score > 0.5
            sheet.mark(x + 5, middle, said == bool(image.labels[index]))
        sheet.text(x + LINE + 2, middle, names[index], ha='left')
        bar = x + LINE + NAMES
        sheet.text(bar - 4, middle, f'{score:.2f}', ha='right')
        sheet.box(bar, middle - 4, BAR, 8, RAIL_COLOR)
        sheet.box(bar, middle - 4, round(BAR * score), 8, BAR_COLOR)

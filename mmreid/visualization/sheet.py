"""A sheet of framed images, which pictures of persons are made of."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmreid.datasets.transforms import read_image

# Told apart with any colour vision (Okabe and Ito), and by mark besides.
RIGHT, WRONG, NEUTRAL = '#009E73', '#D55E00', '#444444'
EMPTY = 0.93
# In pixels: of a frame, between frames, below them, above rows, around all.
BORDER, PAD, CAPTION, HEAD, MARGIN = 4, 8, 16, 24, 16


class Sheet:
    """A white page without pyplot's global state, whose unit is the pixel.

    Args:
        width (int): Of the page.
        height (int): Of the page.
        image_size (tuple[int, int]): Width and height at which each image is
            shown.
        title (str, optional): Headline. Defaults to None.
    """

    def __init__(
        self,
        width: int,
        height: int,
        image_size: tuple[int, int],
        title: str | None = None,
    ) -> None:
        self.width, self.height = width, height
        self.image_size = image_size
        self._canvas = np.ones((height, width, 3), np.float32)
        self._figure = Figure(figsize=(width / 100, height / 100), dpi=100)
        FigureCanvasAgg(self._figure)
        self.axes = self._figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        if title:
            self.text(
                MARGIN, MARGIN + 6, title, size=12, weight='bold', ha='left'
            )

    def text(self, x: float, y: float, content: str, **style: Any) -> None:
        """Write a line, by default small, grey and centred on (x, y)."""
        style = dict(size=8, color=NEUTRAL, ha='center', va='center') | style
        self.axes.text(x, y, content, None, **style)

    def image(
        self,
        x: int,
        y: int,
        path: str | Path | None,
        color: str = NEUTRAL,
        caption: str | None = None,
    ) -> None:
        """Put an image in a frame.

        Args:
            x (int): Left edge of the frame.
            y (int): Upper edge of the frame.
            path (str): The image; None leaves the place empty.
            color (str): Of the frame. Defaults to grey.
            caption (str, optional): Written below. Defaults to None.

        Raises:
            UnreadableImageError: If it cannot be read.
        """
        width, height = self.image_size
        inner = np.s_[
            y + BORDER : y + BORDER + height, x + BORDER : x + BORDER + width
        ]
        if path is None:
            self._canvas[inner] = EMPTY
            return
        self.box(x, y, width + 2 * BORDER, height + 2 * BORDER, color)
        image = cv2.resize(
            read_image(path), self.image_size, interpolation=cv2.INTER_AREA
        )
        self._canvas[inner] = image[..., ::-1] / np.float32(255)
        if caption:
            self.text(
                x + BORDER + width / 2,
                y + height + 2 * BORDER + CAPTION / 2,
                caption,
            )

    def box(self, x: int, y: int, width: int, height: int, color: str) -> None:
        """Fill a rectangle, given its upper left corner and its size."""
        rgb = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        self._canvas[y : y + height, x : x + width] = rgb

    def mark(self, x: float, y: float, right: bool) -> None:
        """Draw a disc with a tick or a cross, for which no font is needed."""
        style: dict[str, Any] = dict(
            color='white', linewidth=1.6, solid_capstyle='round'
        )
        self.axes.plot(
            x,
            y,
            'o',
            color=RIGHT if right else WRONG,
            markersize=11,
            markeredgecolor='white',
            markeredgewidth=1,
        )
        strokes = (
            [([-3, -1, 3.5], [0, 2.5, -3])]
            if right
            else [([-2.5, 2.5], [-2.5, 2.5]), ([-2.5, 2.5], [2.5, -2.5])]
        )
        for across, down in strokes:
            self.axes.plot(
                [x + step for step in across],
                [y + step for step in down],
                **style,
            )

    def legend(self, right: str, wrong: str, step: int = 120) -> None:
        """Say at the foot of the page what the two marks mean.

        Args:
            right (str): Meaning of the tick.
            wrong (str): Meaning of the cross.
            step (int): From one to the other. Defaults to 120.
        """
        y = self.height - 20
        for x, is_right, meaning in (
            (MARGIN, True, right),
            (MARGIN + step, False, wrong),
        ):
            self.mark(x + 8, y, is_right)
            self.text(x + 22, y, meaning, size=9, ha='left')

    def save(self, out_file: str | Path) -> None:
        """Write the picture; its folder is made if it is missing."""
        self.axes.imshow(
            self._canvas,
            extent=(0, self.width, self.height, 0),
            interpolation='nearest',
        )
        Path(out_file).parent.mkdir(parents=True, exist_ok=True)
        self._figure.savefig(out_file)

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmreid.errors import InputError
from mmreid.registry import MODELS

from .base import BatchAugmentation


@MODELS.register_module()
class RandomErasing(BatchAugmentation):
    """Fill a random rectangle of the image with one colour.

    `Random Erasing Data Augmentation (AAAI 2020)
    <https://arxiv.org/abs/1708.04896>`_. The rectangle covers a share
    of the image that is uniform in ``area``; the logarithm of its height over
    its width is uniform in that of ``aspect``. Sides are rounded to pixels.
    Of ten such sizes the first that is smaller than the image in both
    directions is taken, at a place that is uniform among those inside the
    image. If none of the ten is smaller, the image stays as it is.

    The paper draws until a rectangle fits, at most 100 times, and draws the
    aspect, not its logarithm, uniformly.

    The 23 draws of an image are: whether to erase, ten times area and aspect,
    row, column.

    Args:
        prob (float): Probability of erasing. Defaults to 0.5.
        area (Sequence[float]): Least and greatest share of the image.
            Defaults to (0.02, 0.4).
        aspect (Sequence[float]): Least and greatest height over width.
            Defaults to (0.3, 1 / 0.3).
        fill (Sequence[float]): Red, green and blue of the rectangle, of 255;
            rounded. Defaults to the mean of ImageNet.
    """

    num_tries = 10
    num_draws = 1 + 2 * num_tries + 2

    def __init__(
        self,
        prob: float = 0.5,
        area: Sequence[float] = (0.02, 0.4),
        aspect: Sequence[float] = (0.3, 1 / 0.3),
        fill: Sequence[float] = (123.675, 116.28, 103.53),
    ) -> None:
        super().__init__(prob)
        if not (len(area) == 2 and 0 < area[0] <= area[1] <= 1):
            raise InputError(
                'RandomErasing: area must be two shares of the image, the '
                f'least first, in (0, 1], got {area}.'
            )
        if not (len(aspect) == 2 and 0 < aspect[0] <= aspect[1]):
            raise InputError(
                'RandomErasing: aspect must be two positive ratios, the '
                f'least first, got {aspect}.'
            )
        if not (len(fill) == 3 and all(0 <= value <= 255 for value in fill)):
            raise InputError(
                'RandomErasing: fill must be three numbers in [0, 255] (red, '
                f'green, blue), got {fill}.'
            )
        self.area = area
        self.aspect = aspect
        bgr = torch.tensor(fill[::-1]).round().byte().view(3, 1, 1)
        self.register_buffer('fill', bgr, persistent=False)

    def forward(self, images: Tensor, draws: Tensor) -> Tensor:
        """Erase; see :class:`BatchAugmentation`."""
        size = images.shape[2:]
        # In float64, a side rounds to the same pixel on every device.
        draws = draws.double()
        share, ratio = draws[:, 1:-2].unflatten(1, (-1, 2)).unbind(2)
        share = self.area[0] + share * (self.area[1] - self.area[0])
        low, high = map(math.log, self.aspect)
        ratio = (low + ratio * (high - low)).exp()
        pixels = share * math.prod(size)
        # (N, tries, 2): height and width of every try.
        sides = torch.stack([pixels * ratio, pixels / ratio], 2).sqrt().round()
        fits = (sides[..., 0] < size[0]) & (sides[..., 1] < size[1])
        first = fits.byte().argmax(1)
        sides = sides.take_along_dim(first[:, None, None], 1).squeeze(1)
        erase = (draws[:, 0] < self.prob) & fits.any(1)

        inside = []
        for length, side, draw in zip(
            size, sides.split(1, 1), draws[:, -2:].split(1, 1), strict=True
        ):
            start = (draw * (length - side + 1)).floor()
            index = torch.arange(length, device=images.device)
            inside.append((start <= index) & (index < start + side))
        rows, columns = inside
        mask = rows[:, :, None] & columns[:, None] & erase[:, None, None]
        # On one core, twice as fast as torch.where.
        mask = mask[:, None].byte()
        return images * (1 - mask) + self.fill * mask

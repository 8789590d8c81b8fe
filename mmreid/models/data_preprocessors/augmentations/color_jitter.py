from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2

from mmreid.registry import MODELS

from .base import BatchAugmentation


def _grey(images: Tensor) -> Tensor:
    """Grey (N, 1, H, W) of BGR images, in whole levels as torchvision's."""
    blue, green, red = images.split(1, 1)
    return (red * 0.2989 + green * 0.587 + blue * 0.114).floor_()


def _blend(images: Tensor, others: Tensor, factor: Tensor) -> Tensor:
    return (images * factor).add_(others * (1 - factor)).clamp_(0, 255)


@MODELS.register_module()
class ColorJitter(BatchAugmentation):
    """Change brightness, contrast, saturation and hue at random.

    Options, formulas and ranges are torchvision's. Two things differ: the
    order is fixed (brightness, contrast, saturation, hue), where torchvision
    draws an order per image; and the result is rounded once, to the nearest
    level, where torchvision cuts off the fraction after each of the four.

    The five draws of an image are: whether to change it, brightness,
    contrast, saturation, hue.

    Args:
        brightness (float | Sequence[float]): The factor is uniform in
            [max(0, 1 - brightness), 1 + brightness], or in the range given
            by two numbers. Defaults to 0.0.
        contrast (float | Sequence[float]): Likewise. Defaults to 0.0.
        saturation (float | Sequence[float]): Likewise. Defaults to 0.0.
        hue (float | Sequence[float]): The shift, in turns of the colour
            circle, is uniform in [-hue, hue], or in the range given by two
            numbers; at most half a turn. Defaults to 0.0.
        prob (float): Probability of changing an image. Defaults to 1.0.
    """

    num_draws = 5

    def __init__(
        self,
        brightness: float | Sequence[float] = 0.0,
        contrast: float | Sequence[float] = 0.0,
        saturation: float | Sequence[float] = 0.0,
        hue: float | Sequence[float] = 0.0,
        prob: float = 1.0,
    ) -> None:
        super().__init__(prob)
        # Checks the options; a range is None where nothing would change.
        ranges = v2.ColorJitter(brightness, contrast, saturation, hue)
        self.brightness = ranges.brightness
        self.contrast = ranges.contrast
        self.saturation = ranges.saturation
        self.hue = ranges.hue

    def forward(self, images: Tensor, draws: Tensor) -> Tensor:
        """Change the colours; see :class:`BatchAugmentation`."""
        draws = draws[:, :, None, None, None]
        apply = draws[:, 0] < self.prob

        def factor(
            slot: int, limits: Sequence[float], neutral: float
        ) -> Tensor:
            low, high = limits
            drawn = low + draws[:, slot] * (high - low)
            return drawn.masked_fill(~apply, neutral)

        images = images.float()
        if self.brightness:
            images = images.mul_(factor(1, self.brightness, 1.0))
            images = images.clamp_(0, 255)
        if self.contrast:
            # A sum of integers is the same in any order of summation, so the
            # mean does not depend on the device or the size of the batch.
            mean = _grey(images).byte().sum((1, 2, 3), keepdim=True)
            mean = mean.float() / (images.size(2) * images.size(3))
            images = _blend(images, mean, factor(2, self.contrast, 1.0))
        if self.saturation:
            images = _blend(
                images, _grey(images), factor(3, self.saturation, 1.0)
            )
        if self.hue:
            images = self._shift_hue(images, factor(4, self.hue, 0.0))
        return images.round().byte()

    def _shift_hue(self, images: Tensor, shift: Tensor) -> Tensor:
        """Turn the hue in HSV; value and saturation stay."""
        blue, green, red = images.split(1, 1)
        value = images.amax(1, keepdim=True)
        chroma = value - images.amin(1, keepdim=True)
        is_red, is_green = value == red, value == green
        # Sixths of a turn: red 0, green 2, blue 4. Grey has chroma 0, so its
        # hue does not matter.
        hue = (green - blue).where(
            is_red, (blue - red).where(is_green, red - green)
        )
        hue = hue / chroma.clamp_min(1e-12)
        hue = hue + (~is_red) * (4 - 2 * is_green.float()) + 6 * shift
        hue = hue.remainder_(6)
        # How much of the chroma each channel lacks, blue, green, red: none
        # within a sixth around its own hue, all from two sixths on.
        lacking = [
            (hue - 4).abs_() - 1,
            (hue - 2).abs_() - 1,
            2 - (hue - 3).abs_(),
        ]
        return value - torch.cat(lacking, 1).clamp_(0, 1).mul_(chroma)

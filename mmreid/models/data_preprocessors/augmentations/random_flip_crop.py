import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid.errors import InputError
from mmreid.registry import MODELS

from .base import BatchAugmentation


@MODELS.register_module()
class RandomFlipCrop(BatchAugmentation):
    """Crop a window of the zero-padded image, then flip it at random.

    The window has the size of the image and any of its ``(2 * padding + 1)
    ** 2`` places with equal probability.

    The three draws of an image are: flip, row offset, column offset.

    Args:
        flip_prob (float): Probability of a horizontal flip. Defaults to 0.5.
        padding (int): Zero padding in pixels on every side. Defaults to 7.
    """

    num_draws = 3

    def __init__(self, flip_prob: float = 0.5, padding: int = 7) -> None:
        super().__init__(flip_prob)
        if padding < 0:
            raise InputError(
                f'RandomFlipCrop: padding must not be negative, got {padding}.'
            )
        self.padding = padding

    def forward(self, images: Tensor, draws: Tensor) -> Tensor:
        """Crop and flip; see :class:`BatchAugmentation`."""
        offsets = (draws[:, 1:] * (2 * self.padding + 1)).long()
        flip = draws[:, 0] < self.prob
        padded = F.pad(images, [self.padding] * 4)
        take = self._slice if images.is_cpu else self._gather
        return take(padded, offsets, flip, images.shape[2:])

    @staticmethod
    def _slice(
        padded: Tensor, offsets: Tensor, flip: Tensor, size: torch.Size
    ) -> Tensor:
        """Image by image: a CPU copies rows faster than it gathers pixels."""
        height, width = size
        output = padded.new_empty(*padded.shape[:2], height, width)
        for target, image, (top, left), mirror in zip(
            output, padded, offsets.tolist(), flip.tolist(), strict=True
        ):
            window = image[:, top : top + height, left : left + width]
            target.copy_(window.flip(2) if mirror else window)
        return output

    @staticmethod
    def _gather(
        padded: Tensor, offsets: Tensor, flip: Tensor, size: torch.Size
    ) -> Tensor:
        """All images at once, without waiting for the device."""
        height, width = size
        rows = torch.arange(height, device=padded.device) + offsets[:, :1]
        columns = torch.arange(width, device=padded.device).expand(
            len(padded), -1
        )
        columns = torch.where(flip[:, None], width - 1 - columns, columns)
        columns = columns + offsets[:, 1:]
        pixels = rows[:, :, None] * padded.size(3)
        pixels = (pixels + columns[:, None]).flatten(1)
        pixels = pixels[:, None].expand(-1, padded.size(1), -1)
        images = padded.flatten(2).gather(2, pixels)
        return images.view(*padded.shape[:2], height, width)

import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid.registry import MODELS

from .base import BatchAugmentation


@MODELS.register_module()
class RandomFlipCrop(BatchAugmentation):
    """Crop a window of the zero-padded image, then flip it at random.

    The window has the size of the image and any of its ``(2 * padding + 1)
    ** 2`` places with equal probability. Crop and flip are one gather over
    the batch.

    The three draws of an image are: flip, row offset, column offset.

    Args:
        flip_prob (float): Probability of a horizontal flip. Defaults to 0.5.
        padding (int): Zero padding in pixels on every side. Defaults to 7.
    """

    num_draws = 3

    def __init__(self, flip_prob: float = 0.5, padding: int = 7) -> None:
        super().__init__(flip_prob)
        if padding < 0:
            raise ValueError(
                f'RandomFlipCrop: padding must not be negative, got {padding}.'
            )
        self.padding = padding

    def forward(self, images: Tensor, draws: Tensor) -> Tensor:
        """Crop and flip; see :class:`BatchAugmentation`."""
        height, width = images.shape[2:]
        offsets = (draws[:, 1:] * (2 * self.padding + 1)).long()
        rows = torch.arange(height, device=images.device) + offsets[:, :1]
        columns = torch.arange(width, device=images.device).expand(
            len(images), -1
        )
        flip = draws[:, :1] < self.prob
        columns = torch.where(flip, width - 1 - columns, columns)
        columns = columns + offsets[:, 1:]
        pixels = rows[:, :, None] * (width + 2 * self.padding)
        pixels = (pixels + columns[:, None]).flatten(1)
        padded = F.pad(images, [self.padding] * 4).flatten(2)
        pixels = pixels[:, None].expand(-1, images.size(1), -1)
        return padded.gather(2, pixels).view_as(images)

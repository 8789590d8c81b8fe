"""Loading an image and packing it for the collate function."""

from .formatting import PackReIDInputs
from .loading import LoadReIDImage, UnreadableImageError

__all__ = ['LoadReIDImage', 'PackReIDInputs', 'UnreadableImageError']

"""Loading an image and packing it for the collate function."""

from .formatting import PackReIDInputs
from .loading import LoadReIDImage, UnreadableImageError, read_image

__all__ = [
    'LoadReIDImage',
    'PackReIDInputs',
    'UnreadableImageError',
    'read_image',
]

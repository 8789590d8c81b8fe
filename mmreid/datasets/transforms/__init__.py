"""Loading an image, resizing it, packing it for the collate function."""

from .formatting import PackReIDInputs
from .loading import LoadReIDImage, UnreadableImageError, read_image
from .resizing import MatlabResize

__all__ = [
    'LoadReIDImage',
    'MatlabResize',
    'PackReIDInputs',
    'UnreadableImageError',
    'read_image',
]

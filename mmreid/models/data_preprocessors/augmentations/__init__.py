from .base import BatchAugmentation
from .color_jitter import ColorJitter
from .random_erasing import RandomErasing
from .random_flip_crop import RandomFlipCrop

__all__ = [
    'BatchAugmentation',
    'ColorJitter',
    'RandomErasing',
    'RandomFlipCrop',
]

from .augmentations import (
    BatchAugmentation,
    ColorJitter,
    RandomErasing,
    RandomFlipCrop,
)
from .counter_rng import counter_uniform
from .data_preprocessor import ReIDDataPreprocessor

__all__ = [
    'BatchAugmentation',
    'ColorJitter',
    'RandomErasing',
    'RandomFlipCrop',
    'ReIDDataPreprocessor',
    'counter_uniform',
]

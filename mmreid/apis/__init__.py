from mmreid.engine.extraction import extract

from .adapt_bn import adapt_bn
from .dry_run import dry_run
from .inferencer import ReIDInferencer, SearchResult
from .init_model import init_model
from .target_images import target_images

__all__ = [
    'ReIDInferencer',
    'SearchResult',
    'adapt_bn',
    'dry_run',
    'extract',
    'init_model',
    'target_images',
]

from .agreement import kth_largest_agreement, pairwise_agreement
from .feature_length import feature_length
from .gather import gather_batch
from .pretrained import StrictPretrainedInit

__all__ = [
    'StrictPretrainedInit',
    'feature_length',
    'gather_batch',
    'kth_largest_agreement',
    'pairwise_agreement',
]

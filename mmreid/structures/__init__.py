"""What the parts of mmreid hand to each other."""

from .batch_info import BatchInfo
from .feature_set import FeatureSet
from .retrieval_result import RetrievalResult
from .stage import Stage
from .verification_result import VerificationResult

__all__ = [
    'BatchInfo',
    'FeatureSet',
    'RetrievalResult',
    'Stage',
    'VerificationResult',
]

"""What the parts of mmreid hand to each other."""

from .feature_set import FeatureSet
from .retrieval_result import RetrievalResult
from .verification_result import VerificationResult

__all__ = ['FeatureSet', 'RetrievalResult', 'VerificationResult']

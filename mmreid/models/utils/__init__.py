from .agreement import kth_largest_agreement, pairwise_agreement
from .feature_length import feature_length
from .gather import gather_batch
from .pair_miner import FeatureGuidedMiner, MinedPairs, SoftMultilabelMiner
from .pretrained import StrictPretrainedInit
from .soft_multilabel_memory import SoftMultilabelMemory

__all__ = [
    'FeatureGuidedMiner',
    'MinedPairs',
    'SoftMultilabelMemory',
    'SoftMultilabelMiner',
    'StrictPretrainedInit',
    'feature_length',
    'gather_batch',
    'kth_largest_agreement',
    'pairwise_agreement',
]

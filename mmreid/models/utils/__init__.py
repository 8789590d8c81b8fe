from .agreement import kth_largest_agreement, pairwise_agreement
from .counter_rng import counter_uniform
from .data_preprocessor import ReIDDataPreprocessor
from .gather import gather_batch
from .pair_miner import FeatureGuidedMiner, MinedPairs, SoftMultilabelMiner
from .soft_multilabel_memory import SoftMultilabelMemory

__all__ = [
    'FeatureGuidedMiner',
    'MinedPairs',
    'ReIDDataPreprocessor',
    'SoftMultilabelMemory',
    'SoftMultilabelMiner',
    'counter_uniform',
    'gather_batch',
    'kth_largest_agreement',
    'pairwise_agreement',
]

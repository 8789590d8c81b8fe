from .pair_miner import (
    FeatureGuidedMiner,
    MinedPairs,
    PairMiner,
    SoftMultilabelMiner,
)

__all__ = [
    'FeatureGuidedMiner',
    'MinedPairs',
    'PairMiner',
    'SoftMultilabelMiner',
]

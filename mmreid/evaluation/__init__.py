from .evaluate import (
    Evaluation,
    add_evaluation_arguments,
    evaluation_options,
)
from .features import load_features, save_features
from .functional import (
    FeatureDistance,
    KReciprocalDistance,
    expand_queries,
    rank,
    rank_metrics,
    rank_queries,
    verify,
)
from .metrics import AttributeMetric, ReIDMetric
from .protocols import PROTOCOLS

__all__ = [
    'PROTOCOLS',
    'AttributeMetric',
    'Evaluation',
    'FeatureDistance',
    'KReciprocalDistance',
    'ReIDMetric',
    'add_evaluation_arguments',
    'evaluation_options',
    'expand_queries',
    'load_features',
    'rank',
    'rank_metrics',
    'rank_queries',
    'save_features',
    'verify',
]

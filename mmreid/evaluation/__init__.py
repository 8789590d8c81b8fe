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
from .unlabelled import neighbour_report

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
    'neighbour_report',
    'rank',
    'rank_metrics',
    'rank_queries',
    'save_features',
    'verify',
]

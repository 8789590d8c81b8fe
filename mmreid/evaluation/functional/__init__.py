from .distance import METRICS, FeatureDistance, check_metric
from .ranking import (
    CAMERA_RULES,
    RetrievalResult,
    check_options,
    rank,
    rank_metrics,
    rank_queries,
)

__all__ = [
    'CAMERA_RULES',
    'METRICS',
    'FeatureDistance',
    'RetrievalResult',
    'check_metric',
    'check_options',
    'rank',
    'rank_metrics',
    'rank_queries',
]

from .functional import (
    FeatureDistance,
    RetrievalResult,
    rank,
    rank_metrics,
    rank_queries,
)
from .metrics import AttributeMetric, ReIDMetric

__all__ = [
    'AttributeMetric',
    'FeatureDistance',
    'ReIDMetric',
    'RetrievalResult',
    'rank',
    'rank_metrics',
    'rank_queries',
]

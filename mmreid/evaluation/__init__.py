from .functional import rank_metrics, rank_queries, top_neighbours
from .metrics import AttributeMetric, ReIDMetric

__all__ = [
    'AttributeMetric',
    'ReIDMetric',
    'rank_metrics',
    'rank_queries',
    'top_neighbours',
]

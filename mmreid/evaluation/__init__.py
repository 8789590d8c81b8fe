from .functional import rank_metrics, rank_queries, top_neighbours
from .metrics import ReIDMetric

__all__ = ['ReIDMetric', 'rank_metrics', 'rank_queries', 'top_neighbours']

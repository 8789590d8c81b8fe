from .ranking import (
    QueryRanks,
    check_options,
    rank_metrics,
    rank_queries,
    top_neighbours,
)

__all__ = [
    'QueryRanks',
    'check_options',
    'rank_metrics',
    'rank_queries',
    'top_neighbours',
]

from .rank_list import draw_rank_list

__all__ = ['draw_rank_list']

from .rank_list import draw_rank_list
from .tsne import draw_tsne, embed_tsne

__all__ = ['draw_rank_list', 'draw_tsne', 'embed_tsne']

from .experiment import draw_experiment
from .rank_list import draw_rank_list
from .tsne import draw_tsne, embed_tsne
from .verification import draw_verification

__all__ = [
    'draw_experiment',
    'draw_rank_list',
    'draw_tsne',
    'draw_verification',
    'embed_tsne',
]

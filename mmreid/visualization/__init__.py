from .attributes import AttributedImage, draw_attributes
from .experiment import draw_experiment
from .histogram import Histogram, draw_histograms
from .rank_list import draw_rank_list
from .similar_pairs import SimilarPair, draw_similar_pairs
from .tsne import draw_tsne, embed_tsne
from .verification import draw_verification

__all__ = [
    'AttributedImage',
    'Histogram',
    'SimilarPair',
    'draw_attributes',
    'draw_experiment',
    'draw_histograms',
    'draw_rank_list',
    'draw_similar_pairs',
    'draw_tsne',
    'draw_verification',
    'embed_tsne',
]

from .average_precision import AP_FORMULAS
from .camera_means import (
    camera_means,
    center_cameras,
    subtract_camera_means,
)
from .clustering import cluster_quality
from .distance import (
    METRICS,
    Distance,
    FeatureDistance,
    check_metric,
    normalise,
    unit_vectors,
)
from .feature_statistics import feature_statistics
from .jaccard import camera_aware_jaccard_graph, jaccard_graph
from .matches import CAMERA_RULES
from .nearest_pairs import nearest_pairs
from .ranking import TIES, check_options, rank, rank_metrics, rank_queries
from .re_ranking import KReciprocalDistance, expand_queries
from .verification import verify

__all__ = [
    'AP_FORMULAS',
    'CAMERA_RULES',
    'METRICS',
    'TIES',
    'Distance',
    'FeatureDistance',
    'KReciprocalDistance',
    'camera_aware_jaccard_graph',
    'camera_means',
    'center_cameras',
    'check_metric',
    'check_options',
    'cluster_quality',
    'expand_queries',
    'feature_statistics',
    'jaccard_graph',
    'nearest_pairs',
    'normalise',
    'rank',
    'rank_metrics',
    'rank_queries',
    'subtract_camera_means',
    'unit_vectors',
    'verify',
]

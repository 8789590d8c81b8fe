from .evaluate import (
    Evaluation,
    add_evaluation_arguments,
    evaluation_options,
)
from .features import (
    load_features,
    load_training_features,
    save_features,
)
from .functional import (
    Distance,
    FeatureDistance,
    KReciprocalDistance,
    camera_aware_jaccard_graph,
    camera_means,
    center_cameras,
    cluster_quality,
    expand_queries,
    feature_statistics,
    jaccard_graph,
    nearest_pairs,
    rank,
    rank_metrics,
    rank_queries,
    subtract_camera_means,
    verify,
)
from .metrics import AttributeMetric, ReIDMetric
from .protocols import PROTOCOLS
from .unlabelled import neighbour_report

__all__ = [
    'PROTOCOLS',
    'AttributeMetric',
    'Distance',
    'Evaluation',
    'FeatureDistance',
    'KReciprocalDistance',
    'ReIDMetric',
    'add_evaluation_arguments',
    'camera_aware_jaccard_graph',
    'camera_means',
    'center_cameras',
    'cluster_quality',
    'evaluation_options',
    'expand_queries',
    'feature_statistics',
    'jaccard_graph',
    'load_features',
    'load_training_features',
    'nearest_pairs',
    'neighbour_report',
    'rank',
    'rank_metrics',
    'rank_queries',
    'save_features',
    'subtract_camera_means',
    'verify',
]

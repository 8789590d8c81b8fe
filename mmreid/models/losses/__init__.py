from .attribute_loss import AttributeLoss
from .cml_loss import CameraStatistics, CMLLoss, camera_statistics
from .cross_entropy_loss import CrossEntropyLoss
from .mdl_loss import MDLLoss
from .proxy_losses import InterCameraLoss, IntraCameraLoss
from .rj_loss import RJLoss
from .squared_distance_loss import SquaredDistanceLoss
from .triplet_loss import BatchHardTripletLoss

__all__ = [
    'AttributeLoss',
    'BatchHardTripletLoss',
    'CMLLoss',
    'CameraStatistics',
    'CrossEntropyLoss',
    'InterCameraLoss',
    'IntraCameraLoss',
    'MDLLoss',
    'RJLoss',
    'SquaredDistanceLoss',
    'camera_statistics',
]

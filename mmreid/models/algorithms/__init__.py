from .attribute_base import AttributeReID
from .base import BaseReID
from .baseline import Baseline
from .camera_proxies import CameraProxies
from .cluster_base import ClusterReID
from .cluster_contrast import ClusterContrast
from .joint_supervision import JointSupervision
from .mar import MAR
from .source_free_mar import SourceFreeMAR
from .spcl import SpCL
from .tj_aidl import TJAIDL

__all__ = [
    'MAR',
    'TJAIDL',
    'AttributeReID',
    'BaseReID',
    'Baseline',
    'CameraProxies',
    'ClusterContrast',
    'ClusterReID',
    'JointSupervision',
    'SourceFreeMAR',
    'SpCL',
]

from .attribute_base import AttributeReID
from .base import BaseReID
from .baseline import Baseline
from .joint_supervision import JointSupervision
from .mar import MAR
from .tj_aidl import TJAIDL

__all__ = [
    'MAR',
    'TJAIDL',
    'AttributeReID',
    'BaseReID',
    'Baseline',
    'JointSupervision',
]

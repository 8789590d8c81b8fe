from .linear_end_resnet import LinearEndResNet
from .mobilenet_v1 import MobileNetV1
from .osnet import LinearEndOSNet, OSNet
from .resnet_ibn import ResNetIBN

__all__ = [
    'LinearEndOSNet',
    'LinearEndResNet',
    'MobileNetV1',
    'OSNet',
    'ResNetIBN',
]

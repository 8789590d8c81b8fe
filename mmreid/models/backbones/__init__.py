from .linear_end_resnet import LinearEndResNet
from .mobilenet_v1 import MobileNetV1

__all__ = ['LinearEndResNet', 'MobileNetV1']

from .linear_end_resnet import LinearEndResNet

__all__ = ['LinearEndResNet']

from .bn_neck import BNNeck
from .gem import GeM
from .global_pooling import GlobalPooling

__all__ = ['BNNeck', 'GeM', 'GlobalPooling']

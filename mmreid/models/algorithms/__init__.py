from .base import BaseReID
from .mar import MAR

__all__ = ['BaseReID', 'MAR']

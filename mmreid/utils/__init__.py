from .checkpoint import load_from_local
from .run import exit_with_message, prepare_distributed

__all__ = ['exit_with_message', 'load_from_local', 'prepare_distributed']

from .run import exit_with_message, prepare_distributed

__all__ = ['exit_with_message', 'prepare_distributed']

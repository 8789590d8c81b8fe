from .checkpoint import load_from_local
from .run import config_parser, exit_with_message, load_config

__all__ = [
    'config_parser',
    'exit_with_message',
    'load_config',
    'load_from_local',
]

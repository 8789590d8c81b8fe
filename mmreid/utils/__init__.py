from .run import (
    config_parser,
    exit_with_message,
    load_config,
    ranking_evaluators,
    use_validation,
)

__all__ = [
    'config_parser',
    'exit_with_message',
    'load_config',
    'ranking_evaluators',
    'use_validation',
]

from .config import (
    Row,
    derive_domains,
    load_row,
    load_table,
    read_config,
    unknown_row,
)
from .run import (
    add_model_arguments,
    config_parser,
    exit_with_message,
    image_pipeline,
    is_first_process,
    load_config,
    ranking_evaluators,
    ranking_metric,
    use_validation,
)

__all__ = [
    'Row',
    'add_model_arguments',
    'config_parser',
    'derive_domains',
    'exit_with_message',
    'is_first_process',
    'image_pipeline',
    'load_config',
    'load_row',
    'load_table',
    'ranking_evaluators',
    'ranking_metric',
    'read_config',
    'unknown_row',
    'use_validation',
]

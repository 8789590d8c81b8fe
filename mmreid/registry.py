"""The registries of mmreid, one child per registry of MMEngine.

Each names the package that holds its classes (``locations``), so that building
from a config imports what it needs: no explicit registration call exists.
"""

from mmengine import registry as _root
from mmengine.registry import Registry

__all__ = [
    'RUNNERS',
    'RUNNER_CONSTRUCTORS',
    'LOOPS',
    'HOOKS',
    'LOG_PROCESSORS',
    'OPTIMIZERS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PARAM_SCHEDULERS',
    'DATASETS',
    'DATA_SAMPLERS',
    'TRANSFORMS',
    'MODELS',
    'MODEL_WRAPPERS',
    'WEIGHT_INITIALIZERS',
    'TASK_UTILS',
    'METRICS',
    'EVALUATOR',
    'VISUALIZERS',
    'VISBACKENDS',
    'INFERENCERS',
]


def _child(name: str, parent: Registry, package: str) -> Registry:
    return Registry(
        name,
        parent=parent,
        scope='mmreid',
        locations=[f'mmreid.{package}'],
    )


RUNNERS = _child('runner', _root.RUNNERS, 'engine')
RUNNER_CONSTRUCTORS = _child(
    'runner constructor', _root.RUNNER_CONSTRUCTORS, 'engine'
)
LOOPS = _child('loop', _root.LOOPS, 'engine')
HOOKS = _child('hook', _root.HOOKS, 'engine')
LOG_PROCESSORS = _child('log processor', _root.LOG_PROCESSORS, 'engine')
OPTIMIZERS = _child('optimizer', _root.OPTIMIZERS, 'engine')
OPTIM_WRAPPERS = _child('optimizer wrapper', _root.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', _root.OPTIM_WRAPPER_CONSTRUCTORS, 'engine'
)
PARAM_SCHEDULERS = _child(
    'parameter scheduler', _root.PARAM_SCHEDULERS, 'engine'
)
DATASETS = _child('dataset', _root.DATASETS, 'datasets')
DATA_SAMPLERS = _child('data sampler', _root.DATA_SAMPLERS, 'datasets')
TRANSFORMS = _child('transform', _root.TRANSFORMS, 'datasets')
MODELS = _child('model', _root.MODELS, 'models')
MODEL_WRAPPERS = _child('model wrapper', _root.MODEL_WRAPPERS, 'models')
WEIGHT_INITIALIZERS = _child(
    'weight initializer', _root.WEIGHT_INITIALIZERS, 'models'
)
TASK_UTILS = _child('task util', _root.TASK_UTILS, 'models')
METRICS = _child('metric', _root.METRICS, 'evaluation')
EVALUATOR = _child('evaluator', _root.EVALUATOR, 'evaluation')
VISUALIZERS = _child('visualizer', _root.VISUALIZERS, 'visualization')
VISBACKENDS = _child('vis_backend', _root.VISBACKENDS, 'visualization')
INFERENCERS = _child('inferencer', _root.INFERENCERS, 'apis')

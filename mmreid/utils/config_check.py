"""Refuse a config whose keys nothing would read."""

import difflib
import inspect
import re
from collections.abc import Collection, Iterator

from mmengine.config import Config
from mmengine.registry import FUNCTIONS, Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmreid import registry
from mmreid.errors import InputError

# Keys of a config that Runner.from_cfg and the tools read, beside the
# arguments of the Runner.
TOP_LEVEL = (
    *('runner_type', 'custom_imports', 'compile', 'activation_checkpointing'),
    *('model_wrapper_cfg', 'sync_bn', 'find_unused_parameters'),
    'retrieval_metric',  # of the test that a target without labels lacks
)
# Of these the tools make others as they read a config.
DERIVED = ('source', 'target')
# What a dict with a type is built with, by the key that holds it or a list of
# such dicts. Under any other key it is as in the dict around it.
REGISTRIES = dict(
    model=registry.MODELS,
    dataset=registry.DATASETS,
    pipeline=registry.TRANSFORMS,
    transforms=registry.TRANSFORMS,
    sampler=registry.DATA_SAMPLERS,
    batch_sampler=registry.DATA_SAMPLERS,
    collate_fn=FUNCTIONS,
    train_cfg=registry.LOOPS,
    val_cfg=registry.LOOPS,
    test_cfg=registry.LOOPS,
    optim_wrapper=registry.OPTIM_WRAPPERS,
    optimizer=registry.OPTIMIZERS,
    param_scheduler=registry.PARAM_SCHEDULERS,
    val_evaluator=registry.METRICS,
    test_evaluator=registry.METRICS,
    default_hooks=registry.HOOKS,
    custom_hooks=registry.HOOKS,
    init_cfg=registry.WEIGHT_INITIALIZERS,
    visualizer=registry.VISUALIZERS,
    vis_backends=registry.VISBACKENDS,
    log_processor=registry.LOG_PROCESSORS,
)
# Of dicts that may lack a type.
DEFAULT_TYPES = dict(
    optim_wrapper='OptimWrapper',
    val_cfg='ValLoop',
    test_cfg='TestLoop',
    visualizer='Visualizer',
    log_processor='LogProcessor',
)
# What the one who builds from a dict takes out of it, or puts into it.
EXTRA_KEYS = {
    'optim_wrapper': ('optimizer', 'paramwise_cfg', 'constructor'),
    'param_scheduler': ('convert_to_iter_based', 'epoch_length'),
    'default_hooks': ('priority',),
    'custom_hooks': ('priority',),
}
# Keys of dicts that are no arguments of a class.
PLAIN_KEYS = dict(
    randomness=('seed', 'diff_rank_seed', 'deterministic'),
    env_cfg=('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    auto_scale_lr=('enable', 'base_batch_size'),
    paramwise_cfg=(
        *('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'flat_decay_mult'),
        *('norm_decay_mult', 'dwconv_decay_mult', 'dcn_offset_lr_mult'),
        'bypass_duplicate',
    ),
)
DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def check_config(cfg: Config, options: Collection[str] = ()) -> None:
    """See whether something reads every key of a config.

    Looked at are the top level; the ``type`` of each dict, which must be
    registered; and its other keys, which must be arguments of the class, as
    far as the class names them. Other names at the top level are variables of
    the config's files, such as ``data_root``; they are taken out, unless they
    look like a misspelt key.

    Args:
        cfg (Config): As :func:`mmreid.utils.read_config` gives it. Changed in
            place.
        options (Collection[str]): The keys that ``--cfg-options`` set, such
            as 'train_cfg.stages.main.max_epochs'. Defaults to none.

    Raises:
        InputError: If there are such keys: all of them, each with the nearest
            that there is.
    """
    problems = [*_top_level(cfg, options)]
    for key, value in cfg.items():
        problems += _walk(value, key, REGISTRIES.get(key), key)
    if problems:
        raise InputError(
            f"'{cfg.filename}' is refused, so that nothing is ignored:"
            + ''.join(f'\n  {problem}' for problem in problems)
        )


def nearest(name: str, names: Collection[str]) -> str:
    """'did you mean ...?', or which names there are."""
    names = sorted(map(str, names))
    near = difflib.get_close_matches(str(name), names, 1)
    if near:
        return f'did you mean {near[0]!r}?'
    return f'there are {", ".join(names)}.'


def _top_level(cfg: Config, options: Collection[str]) -> Iterator[str]:
    read = {*inspect.signature(Runner.__init__).parameters, *TOP_LEVEL}
    read -= {'self', 'cfg'}
    # They are merged when the files have been read, but for these two.
    set_late = {key.split('.')[0] for key in options} - {*DERIVED}
    for key in [key for key in cfg if key not in read]:
        # More than once: it is written, and referred to.
        used = len(re.findall(rf'\b{re.escape(key)}\b', cfg.text)) > 1
        near = difflib.get_close_matches(key, {*read, *DERIVED}, 1, 0.75)
        if key in set_late and used:
            yield (
                f'{key}: is a variable of the files, which --cfg-options '
                'come too late for: set what is made of it, or write a '
                'config that inherits.'
            )
        elif key in set_late or (near and not used):
            yield f'{key}: nothing reads it' + (
                f', did you mean {near[0]!r}?' if near else ': take it out.'
            )
        cfg.pop(key)


def _walk(
    value: object, key: str, built_by: Registry | None, path: str
) -> Iterator[str]:
    """What is wrong with a value and all below it.

    Args:
        value (object): A part of a config.
        key (str): The nearest key above that says what is built of it.
        built_by (Registry, optional): With what, if that is known.
        path (str): Where it is, for the message.
    """
    if isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _walk(part, key, built_by, f'{path}[{index}]')
    if not isinstance(value, dict):
        return
    names = _plain_keys(key, path)
    typed = value.get('type', DEFAULT_TYPES.get(path.split('.')[-1]))
    if built_by is not None and typed is not None:
        found = built_by.get(typed) if isinstance(typed, str) else typed
        if found is None and not _is_elsewhere(typed):
            yield (
                f'{path}.type: {typed!r} is no {built_by.name}, '
                f'{nearest(typed, _registered(built_by, typed))}'
            )
            return
        names, whole = _arguments(found)
        names |= {*EXTRA_KEYS.get(key, ()), 'type'}
        if not whole:
            names |= _unlike(names, value)
    if names is not None:
        for wrong in value:
            if wrong not in names and wrong != '_scope_':
                yield f'{path}.{wrong}: unknown, {nearest(wrong, names)}'
    for name, part in value.items():
        below = name if name in (*REGISTRIES, *PLAIN_KEYS) else key
        yield from _walk(
            part, below, REGISTRIES.get(name, built_by), f'{path}.{name}'
        )


def _plain_keys(key: str, path: str) -> set[str] | None:
    """Keys of a dict that is not built by a registry; None: any."""
    if path.endswith(key) and key in PLAIN_KEYS:
        return {*PLAIN_KEYS[key]}
    if path in DATALOADERS:
        names, _ = _arguments(DataLoader)
        return {*names, 'num_batch_per_epoch'}
    return None


def _arguments(built: object) -> tuple[set[str], bool]:
    """Names of the arguments of a class or function.

    Returns:
        set[str], bool: The names, and whether there are no others.
    """
    names: set[str] = set()
    if not inspect.isclass(built):
        return names, False
    for parent in built.__mro__[:-1]:
        own = vars(parent)
        if '__init__' not in own:
            continue
        arguments = [*inspect.signature(own['__init__']).parameters.values()]
        names |= {
            argument.name
            for argument in arguments[1:]
            if argument.kind
            in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY)
        }
        if 'kwargs_of' in own:
            return names | _arguments(own['kwargs_of'])[0], True
        if not any(a.kind is a.VAR_KEYWORD for a in arguments):
            return names, True
        # Ours hand what they do not name to the class that they extend, or
        # name the one in kwargs_of. Others' may keep it.
        if not parent.__module__.startswith('mmreid.'):
            return names, False
    return names, False


def _unlike(names: set[str], keys: Collection[str]) -> set[str]:
    """The keys that look like none of the names."""
    return {
        key
        for key in keys
        if not difflib.get_close_matches(key, names, 1, cutoff=0.8)
    }


def _is_elsewhere(typed: str) -> bool:
    """Whether any registry has it: which one builds it may not be known."""
    return any(
        getattr(registry, name).get(typed) is not None
        for name in registry.__all__
    )


def _registered(built_by: Registry, typed: str) -> set[str]:
    """Names that a registry has, in the scope of a name that it has not."""
    scope, _, _ = typed.rpartition('.')
    if scope:
        child = built_by.root.children.get(scope)
        if child is not None:
            return {f'{scope}.{name}' for name in child.module_dict}
    names = set(built_by.module_dict)
    if built_by.parent is not None:
        names |= set(built_by.parent.module_dict)
    return names

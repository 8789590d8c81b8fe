import ast
import functools
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, DefaultScope
from mmengine.runner import Runner
from tiny_mar import CONFIGS

from mmreid import registry
from mmreid.registry import MODELS

FILES = sorted(
    path.relative_to(CONFIGS).as_posix()
    for path in Path(CONFIGS).rglob('*.py')
)
METHODS = [path for path in FILES if not path.startswith('_base_')]

# Where the types below a key are registered; other keys change nothing.
REGISTRY_OF = dict(
    model=MODELS,
    init_cfg=registry.WEIGHT_INITIALIZERS,
    model_wrapper_cfg=registry.MODEL_WRAPPERS,
    dataset=registry.DATASETS,
    pipeline=registry.TRANSFORMS,
    sampler=registry.DATA_SAMPLERS,
    collate_fn=FUNCTIONS,
    train_cfg=registry.LOOPS,
    optim_wrapper=registry.OPTIM_WRAPPERS,
    optimizer=registry.OPTIMIZERS,
    param_scheduler=registry.PARAM_SCHEDULERS,
    custom_hooks=registry.HOOKS,
    val_evaluator=registry.METRICS,
    test_evaluator=registry.METRICS,
    visualizer=registry.VISUALIZERS,
    vis_backends=registry.VISBACKENDS,
)


@functools.cache
def load(path):
    return Config.fromfile(f'{CONFIGS}/{path}').to_dict()


def types_of(config, place=None):
    """All (registry, type) pairs of a config."""
    if isinstance(config, dict):
        # A registry without classes of its own is false.
        if place is not None and 'type' in config:
            yield place, config['type']
        for key, value in config.items():
            if key == 'default_hooks':
                # Whatever their names.
                yield from types_of(list(value.values()), registry.HOOKS)
            else:
                yield from types_of(value, REGISTRY_OF.get(key, place))
    elif isinstance(config, list | tuple):
        for value in config:
            yield from types_of(value, place)


@functools.cache
def is_registered(place, name):
    with DefaultScope.overwrite_default_scope('mmreid'):
        return place.get(name) is not None


@pytest.mark.parametrize('path', FILES)
def test_parses(path):
    assert load(path)


@pytest.mark.parametrize('path', METHODS)
def test_types_are_registered(path):
    found = set(types_of(load(path)))
    # The walk has seen the parts.
    assert {place for place, _ in found} >= {
        MODELS,
        registry.DATASETS,
        registry.HOOKS,
        registry.LOOPS,
        registry.OPTIMIZERS,
    }
    for place, name in found:
        assert is_registered(place, name), (place.name, name)


@pytest.mark.parametrize('path', METHODS)
def test_model_builds(path, monkeypatch):
    # mmpretrain reads numbers off a tensor, which the meta device has not.
    linspace = functools.partial(torch.linspace, device='cpu')
    monkeypatch.setattr(torch, 'linspace', linspace)
    cfg = load(path)['model']
    # The weights' files are not at hand everywhere.
    cfg = dict(cfg, backbone=dict(cfg['backbone'], init_cfg=None))
    with (
        DefaultScope.overwrite_default_scope('mmreid'),
        torch.device('meta'),
    ):
        model = MODELS.build(cfg)
        # Head and backbone fit together.
        features = model.neck(model.backbone(torch.zeros(2, 3, 64, 32))[-1])
        if cfg['type'] == 'MAR':
            logits = [model.head.logits(features)]
            sizes = [cfg['head']['num_agents']]
        else:
            logits = [
                model.identity_classifier(features),
                model.attribute_classifier(features),
            ]
            sizes = [cfg['num_identities'], cfg['num_attributes']]
    assert [tuple(each.shape) for each in logits] == [(2, n) for n in sizes]


@pytest.mark.parametrize(
    'path', [path for path in METHODS if path.startswith('tj_aidl/')]
)
def test_stages_fit_the_model(path):
    cfg = load(path)
    stages = cfg['train_cfg']['stages']
    domains = MODELS.get(cfg['model']['type']).stage_domains
    for name in cfg['train_cfg']['order']:
        assert set(stages[name]['batch_size']) == {domains[name]}


@pytest.mark.parametrize('path', METHODS)
def test_top_level_keys(path):
    """A misspelt one would be ignored without a word."""
    file = Path(CONFIGS, path)
    tree = ast.parse(file.read_text())
    values = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
    }
    bases = ast.literal_eval(values.pop('_base_'))
    single = isinstance(bases, str)
    known = set()
    for base in [bases] if single else bases:
        base = (file.parent / base).resolve().relative_to(CONFIGS)
        known |= load(base.as_posix()).keys()
        # A variant is one.
        assert load(path) != load(base.as_posix())
    if not single:
        # A config of its own may add what the runner takes.
        known |= set(Runner.__init__.__code__.co_varnames)
    # Variables for its own use.
    known |= {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert values.keys() <= known

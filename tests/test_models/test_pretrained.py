import logging
import re
from urllib.error import URLError

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModule, PretrainedInit
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader
from torch import nn

from mmreid.models.utils import StrictPretrainedInit
from mmreid.registry import MODELS

RESNET = dict(type='mmpretrain.ResNet', depth=18, base_channels=2)
VIT = dict(
    type='mmpretrain.VisionTransformer',
    arch=dict(embed_dims=4, num_layers=1, num_heads=2, feedforward_channels=4),
    patch_size=16,
    img_size=64,
)


class Model(BaseModule):
    """A backbone as a part of a model."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = MODELS.build(backbone)


@pytest.fixture(params=[None, 'mmreid', 'mmpretrain', 'mmengine'])
def scope(request):
    """Every default scope that could be set."""
    with DefaultScope.overwrite_default_scope(request.param):
        yield request.param


@pytest.fixture
def initialise(tmp_path):
    """Initialise a backbone with what is to be in a file."""

    def initialise(config, content, type='Pretrained', **init_cfg):
        file = str(tmp_path / 'weights.pth')
        torch.save(content, file)
        init_cfg = dict(type=type, checkpoint=file, **init_cfg)
        model = Model(dict(config, init_cfg=init_cfg))
        model.init_weights()
        return model.backbone

    return initialise


def random_weights(config):
    torch.manual_seed(7)
    return MODELS.build(config).state_dict()


def renamed(weights, start):
    return {start + key: value for key, value in weights.items()}


def without(weights, *keys):
    return {k: v for k, v in weights.items() if k not in keys}


def check(backbone, weights):
    loaded = backbone.state_dict()
    assert loaded.keys() == weights.keys()
    for key, value in weights.items():
        assert torch.equal(loaded[key], value), key


@pytest.fixture
def log():
    """Lines of MMEngine's current logger."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    'config',
    [
        RESNET,
        dict(RESNET, type='mmreid.LinearEndResNet'),
        dict(type='mmreid.OSNet', width=0.25),
        VIT,
    ],
    ids=lambda config: config['type'],
)
def test_loads_in_every_scope(config, initialise, scope):
    weights = random_weights(config)
    check(initialise(config, dict(state_dict=weights)), weights)
    lacking = without(weights, list(weights)[0])
    with pytest.raises(ValueError, match='weights.pth.* the file lacks'):
        initialise(config, lacking)


@pytest.mark.parametrize(
    'start, init_cfg',
    [
        ('', {}),
        ('module.', {}),
        ('net.backbone.', dict(prefix='net.backbone.')),
        ('backbone.', dict(prefix='backbone')),
    ],
    ids=['alone', 'parallel', 'model', 'model, no dot'],
)
def test_prefix(start, init_cfg, initialise):
    weights = random_weights(RESNET)
    content = renamed(weights, start)
    if init_cfg:
        # What belongs to no backbone does not matter.
        content['head.memory'] = torch.zeros(3)
        content['backbone_ema.conv1.weight'] = torch.zeros(3)
    check(initialise(RESNET, content, **init_cfg), weights)


@pytest.mark.parametrize(
    'keys, classes',
    [
        (['fc.weight', 'fc.bias'], 9),
        (['classifier.weight'], 9),
        (['head.fc.weight', 'head.fc.bias'], 9),
        (['head.weight', 'head.bias'], 9),
        (['head.norm.weight', 'head.norm.num_batches_tracked'], 4),
    ],
    ids=lambda value: str(value),
)
def test_classifier_is_left_out_and_logged(keys, classes, initialise, log):
    weights = random_weights(RESNET)
    shapes = dict(weight=(9, 4), bias=(9,), num_batches_tracked=())
    extra = {key: torch.zeros(shapes[key.split('.')[-1]]) for key in keys}
    if 'norm' in keys[0]:
        extra[keys[0]] = torch.zeros(4)
    check(initialise(RESNET, dict(weights, **extra)), weights)
    (line,) = [line for line in log if 'Left out' in line]
    assert f'classifier of {classes} classes: {", ".join(keys)}.' in line
    log.clear()
    initialise(RESNET, weights)
    assert not [line for line in log if 'Left out' in line]


def test_fc_that_is_the_modules_own_is_loaded(initialise):
    """OSNet's makes its feature."""
    config = dict(type='OSNet', width=0.25)
    weights = random_weights(config)
    classifier = {'classifier.weight': torch.zeros(9, 512)}
    check(initialise(config, dict(weights, **classifier)), weights)
    with pytest.raises(ValueError, match='lacks fc.0.weight, fc.0.bias'):
        initialise(config, without(weights, 'fc.0.weight', 'fc.0.bias'))
    # Is no classifier here.
    with pytest.raises(ValueError, match='in excess fc.weight'):
        initialise(config, dict(weights, **{'fc.weight': torch.zeros(9, 5)}))


def test_counts_of_batches_may_be_missing(initialise):
    weights = random_weights(RESNET)
    counts = [k for k in weights if k.endswith('num_batches_tracked')]
    assert counts
    check(initialise(RESNET, without(weights, *counts)), weights)


def test_half_precision_becomes_single(initialise):
    weights = {
        key: value.half() if value.dim() > 1 else value
        for key, value in random_weights(RESNET).items()
    }
    loaded = initialise(RESNET, weights).state_dict()
    for key, value in weights.items():
        assert loaded[key].dtype == value.float().dtype or value.dim() == 0
        assert torch.equal(loaded[key], value.to(loaded[key].dtype))


def test_all_that_does_not_fit_is_one_message(initialise):
    weights = random_weights(RESNET)
    weights = without(
        weights, *[f'layer1.0.bn{i}.{k}' for i in (1, 2) for k in WEIGHTS]
    )
    weights['layer4.0.conv1.weight'] = torch.zeros(2, 3, 3, 3)
    weights.update({f'extra{i}.weight': torch.zeros(1) for i in range(7)})
    with pytest.raises(ValueError) as error:
        initialise(RESNET, weights)
    message = str(error.value)
    assert re.fullmatch(
        r"The pretrained weights '.*weights\.pth' do not fit ResNet: the file "
        r'lacks layer1\.0\.bn1\.weight, layer1\.0\.bn1\.bias, '
        r'layer1\.0\.bn1\.running_mean, layer1\.0\.bn1\.running_var, '
        r'layer1\.0\.bn2\.weight and 3 more; it has in excess '
        r'extra0\.weight, extra1\.weight, extra2\.weight, extra3\.weight, '
        r'extra4\.weight and 2 more; it has in another shape '
        r'layer4\.0\.conv1\.weight \(2, 3, 3, 3\) instead of '
        r'\(16, 8, 3, 3\)\. Name weights of ResNet with the very options .*',
        message,
    ), message


WEIGHTS = ('weight', 'bias', 'running_mean', 'running_var')


@pytest.mark.parametrize('start', ['backbone.', 'model.identity_backbone.'])
@pytest.mark.parametrize('prefix', [None, 'backbone2.'])
def test_other_prefix_is_named(start, prefix, initialise):
    weights = renamed(random_weights(RESNET), start)
    weights['head.fc.weight'] = torch.zeros(9, 4)
    with pytest.raises(
        ValueError, match=f"lacks conv1.weight.* init_cfg.prefix='{start}'"
    ):
        initialise(RESNET, weights, prefix=prefix)


def test_prefix_that_is_too_much(initialise):
    with pytest.raises(
        ValueError, match="below 'backbone.' lacks.* Leave out init_cfg.pref"
    ):
        initialise(RESNET, random_weights(RESNET), prefix='backbone.')


@pytest.mark.parametrize(
    'start, prefix',
    [('', None), ('module.', None), ('net.', 'net.'), ('net.', 'net')],
)
def test_no_other_prefix_for_a_network_that_differs(start, prefix, initialise):
    weights = random_weights(RESNET)
    content = renamed(weights, 'ema.')
    content.update(renamed(without(weights, 'bn1.weight'), start))
    with pytest.raises(ValueError, match='lacks bn1.weight.* very options'):
        initialise(RESNET, content, prefix=prefix)


@pytest.mark.parametrize(
    'content', [[1, 2], dict(epoch=3), dict(state_dict=None), {}], ids=str
)
def test_file_without_weights(content, initialise):
    with pytest.raises(ValueError, match='weights.pth.* lacks conv1.weight'):
        initialise(RESNET, content)


def test_file_that_does_not_exist():
    model = Model(
        dict(RESNET, init_cfg=dict(type='Pretrained', checkpoint='none.pth'))
    )
    with pytest.raises(FileNotFoundError, match="'none.pth' does not exist"):
        model.init_weights()


def test_no_network(monkeypatch):
    def load(*_):
        raise URLError('no route')

    monkeypatch.setattr(CheckpointLoader, 'load_checkpoint', load)
    init_cfg = dict(type='Pretrained', checkpoint='torchvision://resnet18')
    with pytest.raises(
        OSError, match=r"'torchvision://resnet18' of ResNet .*\(no route\).*="
    ):
        Model(dict(RESNET, init_cfg=init_cfg)).init_weights()


def test_position_embedding_is_resized_by_the_module(initialise):
    weights = random_weights(VIT)
    backbone = initialise(dict(VIT, img_size=(64, 32)), weights)
    loaded = backbone.state_dict()
    assert weights['pos_embed'].shape == (1, 17, 4)
    assert loaded['pos_embed'].shape == (1, 9, 4)
    for key in without(weights, 'pos_embed'):
        assert torch.equal(loaded[key], weights[key]), key
    # But no other shape is.
    weights['cls_token'] = torch.zeros(1, 1, 5)
    with pytest.raises(ValueError) as error:
        initialise(dict(VIT, img_size=(64, 32)), weights)
    assert 'cls_token (1, 1, 5) instead of (1, 1, 4)' in str(error.value)
    assert 'pos_embed' not in str(error.value)


def test_index_that_the_module_makes_itself(initialise):
    config = dict(
        type='mmpretrain.SwinTransformerV2',
        arch=dict(
            embed_dims=4,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            extra_norm_every_n_blocks=0,
        ),
        img_size=64,
        window_size=2,
    )
    weights = random_weights(config)
    assert any('relative_coords_table' in key for key in weights)
    check(initialise(config, weights), weights)


def test_list_of_initialisers_ends_with_the_weights(initialise, tmp_path):
    weights = random_weights(RESNET)
    file = str(tmp_path / 'list.pth')
    torch.save(weights, file)
    backbone = MODELS.build(
        dict(
            RESNET,
            init_cfg=[
                dict(type='Pretrained', checkpoint=file),
                dict(type='Constant', layer='Conv2d', val=5),
            ],
        )
    )
    backbone.init_weights()
    assert torch.equal(backbone.conv1.weight, weights['conv1.weight'])


def test_lenient_class_stays_available(initialise):
    weights = random_weights(RESNET)
    backbone = initialise(
        RESNET, without(weights, 'conv1.weight'), type=PretrainedInit
    )
    assert torch.equal(backbone.bn1.running_mean, weights['bn1.running_mean'])


def test_any_module():
    """Also one that MMEngine knows nothing of."""
    with pytest.raises(FileNotFoundError, match="'none.pth' does not exist"):
        StrictPretrainedInit('none.pth')(nn.Linear(2, 3))


def test_weights_of_timm(initialise):
    timm = pytest.importorskip('timm')
    network = timm.create_model('resnet18')
    config = dict(type='mmpretrain.TIMMBackbone', model_name='resnet18')
    with pytest.raises(
        ValueError, match='lacks timm_model.conv1.*pretrained_cfg_overlay'
    ):
        initialise(config, network.state_dict())

import os.path as osp

import pytest
import tiny_mar
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import nn
from torchvision.models import resnet50

from mmreid.registry import MODELS

TOOL = osp.join(tiny_mar.ROOT, 'tools/model_converters/mar_to_mmreid.py')
NUM = 5


@pytest.fixture(scope='module')
def origin():
    """A trained-looking ResNet-50 with bias-free agents."""
    torch.manual_seed(0)
    network = resnet50()
    network.fc = nn.Linear(2048, NUM, bias=False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.2, 0.8)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            module.num_batches_tracked.fill_(7)
    return network.eval()


@torch.no_grad()
def features_of(network, x):
    """Torchvision's network, its last block without the final ReLU."""
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    for layer in (network.layer1, network.layer2, network.layer3):
        x = layer(x)
    *blocks, last = network.layer4
    for block in blocks:
        x = block(x)
    out = F.relu(last.bn1(last.conv1(x)))
    out = F.relu(last.bn2(last.conv2(out)))
    return (last.bn3(last.conv3(out)) + x).mean((2, 3))


@pytest.fixture
def convert(tmp_path, run_main, capsys):
    """Run the tool on what is to be saved: output, and what it wrote."""

    def run(source):
        src, dst = tmp_path / 'source.pth', tmp_path / 'new' / 'target.pth'
        torch.save(source, src)
        status = run_main(TOOL, src, dst)
        output = capsys.readouterr()
        if status:
            assert not dst.exists() and not output.out
            assert output.err.count('\n') == 1
            return output.err, None
        return output.out, torch.load(dst, weights_only=True)['state_dict']

    return run


def mar(num_agents):
    """The paper's model, as the configs build it."""
    cfg = Config.fromfile(f'{tiny_mar.CONFIGS}/_base_/models/mar_r50.py').model
    cfg.backbone.init_cfg = None
    cfg.head.num_agents = num_agents
    return MODELS.build(cfg).eval()


def test_features_and_agents_are_those_of_the_origin(convert, origin):
    output, state_dict = convert(origin.state_dict())
    assert f'head.num_agents={NUM}; left out: nothing' in output
    model = mar(NUM)
    model.load_state_dict(state_dict, strict=False)
    assert torch.equal(model.head.agents, origin.fc.weight)
    assert model.head.scale == 30
    images = torch.randn(2, 3, 64, 32)
    expected = features_of(origin, images)
    with torch.no_grad():
        torch.testing.assert_close(model(images), expected)
    # The ReLU is missing, and the network computes something.
    assert (expected < 0).float().mean() > 0.1 and expected.std() > 0.1


def test_of_other_agents_the_config_says_so(convert, origin):
    _, state_dict = convert(origin.state_dict())
    with pytest.raises(ValueError, match=f'{NUM} reference agents of 2048'):
        mar(NUM + 1).load_state_dict(state_dict, strict=False)


def test_checkpoint_of_a_training(convert, origin):
    """Wrapped, of DataParallel, in half precision, with state of losses."""
    weights = {
        f'module.{name}': value.half() if value.ndim == 4 else value
        for name, value in origin.state_dict().items()
        if 'num_batches' not in name
    }
    weights['module.fc.bias'] = torch.zeros(NUM)
    weights['multilabel_memory'] = torch.zeros(3, NUM)
    weights['cml_loss.center_mean'] = torch.zeros(NUM)
    output, state_dict = convert(
        dict(epoch=3, state_dict=weights, optimizer=dict(state={}))
    )
    left_out = 'left out: fc.bias, multilabel_memory, cml_loss.center_mean'
    assert left_out in output
    for name, value in origin.state_dict().items():
        if name == 'fc.weight':
            continue
        found = state_dict[f'backbone.{name}']
        if 'num_batches' in name:
            assert found == 0 and found.dtype == torch.int64
        elif value.ndim == 4:
            assert torch.equal(found, value.half().float())
        else:
            assert torch.equal(found, value)


def without(source, name):
    return {key: value for key, value in source.items() if key != name}


@pytest.mark.parametrize(
    'change, message',
    [
        (
            lambda s: without(s, 'layer3.5.bn3.running_var'),
            "lacks 'layer3.5.bn3.running_var', which ResNet-50 has",
        ),
        (
            lambda s: dict(s, **{'conv1.weight': torch.zeros(32, 3, 7, 7)}),
            "'conv1.weight' of shape (32, 3, 7, 7), but (64, 3, 7, 7) was",
        ),
        (
            lambda s: without(s, 'fc.weight'),
            "agents as 'fc.weight', of shape (persons, 2048), but has none",
        ),
        (
            lambda s: dict(s, **{'fc.weight': torch.zeros(5, 512)}),
            'of shape (persons, 2048), but has (5, 512): name weights that',
        ),
        (
            lambda s: dict(s, **{'layer3.6.conv1.weight': torch.zeros(3)}),
            "1 parameters that MAR's network has not, such as 'layer3.6.con",
        ),
        (lambda s: dict(s, epoch=3), 'is no state dict: expected names and'),
        (lambda s: ({}, 19), 'is no state dict: expected names and tensors'),
    ],
    ids=['missing', 'shape', 'no agents', 'length', 'deeper', 'mixed', 'pair'],
)
def test_bad_weights(convert, origin, change, message):
    error, _ = convert(change(origin.state_dict()))
    assert error.startswith("error: '") and 'source.pth' in error
    assert message in error


def test_bad_file(run_main, tmp_path, capsys):
    file = str(tmp_path / 'nothing.pth')
    assert run_main(TOOL, file, 'unused.pth') == 1
    assert f"'{file}' does not exist" in capsys.readouterr().err

import os.path as osp

import pytest
import tiny_mar
import torch
import torch.nn.functional as F
from torch import nn

from mmreid.models.backbones import MobileNetV1

TOOL = osp.join(
    tiny_mar.ROOT, 'tools/model_converters/mobilenet_v1_to_mmreid.py'
)
# Input channels, output channels and stride, as in most ports to PyTorch.
SEPARABLE = [
    (32, 64, 1),
    (64, 128, 2),
    (128, 128, 1),
    (128, 256, 2),
    (256, 256, 1),
    (256, 512, 2),
    *[(512, 512, 1)] * 5,
    (512, 1024, 2),
    (1024, 1024, 1),
]


class Sequence(nn.Module):
    """A port that is one sequence, called ``model`` or ``features``."""

    norm_cfg = dict(type='BN', eps=1e-5)
    act_cfg = dict(type='ReLU')
    padding = 'symmetric'

    def __init__(self, name, classifier):
        super().__init__()
        layers = [self.conv(3, 32, 3, 2, 1)]
        for i, o, stride in SEPARABLE:
            depthwise = self.conv(i, i, 3, stride, 1, groups=i)
            layers.append(nn.Sequential(*depthwise, *self.conv(i, o, 1)))
        self.name = name
        self.add_module(name, nn.Sequential(*layers))
        self.add_module(classifier, nn.Linear(1024, 10))

    @staticmethod
    def conv(*args, **kwargs):
        return nn.Sequential(
            nn.Conv2d(*args, bias=False, **kwargs),
            nn.BatchNorm2d(args[1]),
            nn.ReLU(),
        )

    def forward(self, x):
        return getattr(self, self.name)(x)


class Separable(nn.Module):
    """timm's ``DepthwiseSeparableConv``."""

    def __init__(self, i, o, stride):
        super().__init__()
        self.conv_dw = nn.Conv2d(i, i, 3, stride, 1, groups=i, bias=False)
        self.bn1 = nn.BatchNorm2d(i)
        self.conv_pw = nn.Conv2d(i, o, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(o)

    def forward(self, x):
        x = F.relu6(self.bn1(self.conv_dw(x)))
        return F.relu6(self.bn2(self.conv_pw(x)))


class Timm(nn.Module):
    """timm's ``mobilenetv1_100``."""

    norm_cfg = dict(type='BN', eps=1e-5)
    act_cfg = dict(type='ReLU6')
    padding = 'symmetric'

    def __init__(self):
        super().__init__()
        self.conv_stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        blocks = [Separable(*block) for block in SEPARABLE]
        ends = [0, 1, 3, 5, 11, 13]
        self.blocks = nn.Sequential(
            *[
                nn.Sequential(*blocks[start:end])
                for start, end in zip(ends, ends[1:], strict=False)
            ]
        )
        self.classifier = nn.Linear(1024, 10)

    def forward(self, x):
        return self.blocks(F.relu6(self.bn1(self.conv_stem(x))))


def tf_slim_names(network):
    """Its state dict under the names of TF-slim ports."""
    renamed = {}
    for name, value in network.state_dict().items():
        _, layer, part, parameter = name.split('.')
        number, kind = divmod(int(layer) + 1, 2)
        prefix = f'Conv2d_{number}_' + ('pointwise' if kind else 'depthwise')
        if layer == '0':
            prefix = 'Conv2d_0'
        renamed[f'{prefix}.{int(part == "bn")}.{parameter}'] = value
    return renamed


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
        # MMEngine warns of its own calls once per process, on stdout.
        printed = [
            line
            for line in output.out.splitlines(keepends=True)
            if ' - mmengine - WARNING - ' not in line
        ]
        return ''.join(printed), torch.load(dst, weights_only=True)

    return run


def randomise(network):
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 1.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.01, 1)
            module.num_batches_tracked.fill_(7)
    return network.eval()


@pytest.mark.parametrize(
    'build, layout',
    [
        (Timm, 'timm'),
        (lambda: Sequence('model', 'fc'), 'model'),
        (lambda: Sequence('features', 'classifier'), 'features'),
    ],
    ids=['timm', 'model', 'features'],
)
def test_activations_are_those_of_the_origin(convert, build, layout):
    origin = randomise(build())
    output, checkpoint = convert(origin.state_dict())
    assert output.startswith(f'{layout} layout')
    network = MobileNetV1(
        padding=origin.padding,
        norm_cfg=origin.norm_cfg,
        act_cfg=origin.act_cfg,
    ).eval()
    network.load_state_dict(checkpoint['state_dict'])
    # The tool says which options the weights need.
    for option in ('padding', 'norm_cfg', 'act_cfg'):
        value = getattr(origin, option)
        default = option == 'act_cfg' and value == dict(type='ReLU6')
        assert default or option in output
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        expected = origin(images)
        torch.testing.assert_close(network(images)[0], expected)
    assert expected.std() > 0.1


def test_round_trip_of_half_precision(convert):
    network = randomise(MobileNetV1())
    source = tf_slim_names(network)
    for name, value in source.items():
        if name.endswith('0.weight'):
            source[name] = value.half()
    source['classifier.weight'] = torch.zeros(1001, 1024).half()
    source['classifier.bias'] = torch.zeros(1001)
    output, checkpoint = convert(source)
    assert output.startswith('TF-slim layout') and "padding='same'" in output
    assert list(checkpoint) == ['state_dict']
    expected = network.state_dict()
    assert checkpoint['state_dict'].keys() == expected.keys()
    for name, value in checkpoint['state_dict'].items():
        assert value.dtype == expected[name].dtype
        if 'conv' in name:
            assert torch.equal(value, expected[name].half().float())
        else:
            assert torch.equal(value, expected[name])


def test_checkpoint_of_data_parallel_before_batches_were_counted(convert):
    network = randomise(MobileNetV1())
    source = {
        f'module.{name}': value
        for name, value in tf_slim_names(network).items()
        if 'num_batches' not in name
    }
    _, checkpoint = convert(dict(epoch=3, state_dict=source))
    for name, value in checkpoint['state_dict'].items():
        if 'num_batches' in name:
            assert value == 0 and value.dtype == torch.int64
        else:
            assert torch.equal(value, network.state_dict()[name])


def without(source, name):
    return {key: value for key, value in source.items() if key != name}


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda s: {'conv1.weight': s['Conv2d_0.0.weight']}, 'no known layo'),
        (
            lambda s: without(s, 'Conv2d_7_pointwise.1.running_var'),
            "lacks 'Conv2d_7_pointwise.1.running_var', which MobileNetV1 has "
            'in the TF-slim layout',
        ),
        (
            lambda s: tf_slim_names(MobileNetV1(0.5)),
            "'Conv2d_0.0.weight' of shape (16, 3, 3, 3), but (32, 3, 3, 3)",
        ),
        (
            lambda s: dict(s, **{'conv_head.weight': torch.zeros(3)}),
            "1 parameters that MobileNetV1 has not, such as 'conv_head.weig",
        ),
        (lambda s: dict(s, epoch=3), 'is no state dict: expected names and'),
        (lambda s: [1], 'is no state dict: expected names and tensors'),
    ],
    ids=['layout', 'missing', 'width', 'another network', 'mixed', 'list'],
)
def test_bad_weights(convert, change, message):
    error, _ = convert(change(tf_slim_names(MobileNetV1())))
    assert error.startswith("error: '") and 'source.pth' in error
    assert message in error


def test_bad_file(run_main, tmp_path, capsys):
    file = str(tmp_path / 'nothing.pth')
    assert run_main(TOOL, file, 'unused.pth') == 1
    assert f"'{file}' does not exist" in capsys.readouterr().err

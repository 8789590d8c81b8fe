import math
import os
import runpy

import pytest
import tiny_mar
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.model import BaseModel
from torch.utils._python_dispatch import TorchDispatchMode

from mmreid.models.backbones import MobileNetV1
from mmreid.registry import MODELS

CONVERTER = 'tools/model_converters/mobilenet_v1_to_mmreid.py'
# Number of the separable convolution: input channels, output channels, stride.
SEPARABLE = {
    1: (32, 64, 1),
    2: (64, 128, 2),
    3: (128, 128, 1),
    4: (128, 256, 2),
    5: (256, 256, 1),
    6: (256, 512, 2),
    7: (512, 512, 1),
    8: (512, 512, 1),
    9: (512, 512, 1),
    10: (512, 512, 1),
    11: (512, 512, 1),
    12: (512, 1024, 2),
    13: (1024, 1024, 1),
}


def convert(weights):
    path = os.path.join(tiny_mar.ROOT, CONVERTER)
    return runpy.run_path(path)['convert'](weights)[0]


def tf_slim_weights():
    """Random weights of every layer, under the names of TF-slim ports."""
    generator = torch.Generator().manual_seed(0)
    weights = {}

    def add(name, shape):
        fan_in = math.prod(shape[1:])
        values = torch.randn(shape, generator=generator)
        weights[f'{name}.0.weight'] = values * math.sqrt(2 / fan_in)
        for key, low, high in (
            ('weight', 0.5, 1.5),
            ('bias', -0.5, 1.5),
            ('running_mean', -0.5, 0.5),
            # Small enough for an eps of 1e-3 to be seen.
            ('running_var', 0.01, 1),
        ):
            values = torch.rand(shape[0], generator=generator)
            weights[f'{name}.1.{key}'] = low + (high - low) * values

    add('Conv2d_0', (32, 3, 3, 3))
    for i, (in_channels, out_channels, _) in SEPARABLE.items():
        add(f'Conv2d_{i}_depthwise', (in_channels, 1, 3, 3))
        add(f'Conv2d_{i}_pointwise', (out_channels, in_channels, 1, 1))
    return weights


def same(x, stride):
    """The padding that TensorFlow's "SAME" means for a 3x3 kernel."""
    pads = []
    for length in (x.shape[3], x.shape[2]):
        out = -(-length // stride)
        total = max((out - 1) * stride + 3 - length, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def symmetric(x, stride):
    return F.pad(x, [1, 1, 1, 1])


def reference(weights, x, pad):
    """The network, written down layer by layer."""

    def layer(name, x, **kwargs):
        x = F.conv2d(x, weights[f'{name}.0.weight'].to(x.dtype), **kwargs)
        bn = {
            key: weights[f'{name}.1.{key}'].to(x.dtype)
            for key in ('running_mean', 'running_var', 'weight', 'bias')
        }
        return F.relu6(F.batch_norm(x, **bn, eps=1e-3))

    x = layer('Conv2d_0', pad(x, 2), stride=2)
    for i, (channels, _, stride) in SEPARABLE.items():
        x = layer(
            f'Conv2d_{i}_depthwise',
            pad(x, stride),
            stride=stride,
            groups=channels,
        )
        x = layer(f'Conv2d_{i}_pointwise', x)
    return x


PADDINGS = {'same': same, 'symmetric': symmetric}


@pytest.fixture(scope='module')
def weights():
    return tf_slim_weights()


@pytest.fixture(scope='module')
def networks(weights):
    """A network per padding, all with the same weights."""
    state_dict = convert(weights)
    networks = {}
    for padding in PADDINGS:
        networks[padding] = MobileNetV1(padding=padding).double().eval()
        networks[padding].load_state_dict(state_dict)
    return networks


def check(networks, weights, padding, height, width):
    images = torch.randn(
        2, 3, height, width, generator=torch.Generator().manual_seed(1)
    ).double()
    with torch.no_grad():
        (output,) = networks[padding](images)
        expected = reference(weights, images, PADDINGS[padding])
    assert expected.std() > 0.1
    torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('padding', PADDINGS)
@pytest.mark.parametrize(
    'size', [(128, 64), (256, 128), (224, 224), (129, 63), (1, 1)], ids=str
)
def test_activations_are_the_reference(networks, weights, padding, size):
    check(networks, weights, padding, *size)


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_activations_at_any_size(networks, weights, height, width):
    check(networks, weights, 'same', height, width)


def test_paddings_differ_for_even_sizes_only(networks):
    # Of these sizes, every strided convolution sees an even, an odd one.
    for size, equal in (((64, 32), False), ((65, 33), True)):
        images = torch.randn(1, 3, *size).double()
        with torch.no_grad():
            outputs = [network(images)[0] for network in networks.values()]
        assert torch.allclose(*outputs) == equal


@pytest.mark.parametrize('padding', PADDINGS)
def test_autocast_of_bfloat16(padding):
    torch.manual_seed(0)
    network = MobileNetV1(0.5, padding).eval()
    network.init_weights()
    network.to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 64, 32)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast('cpu', torch.bfloat16):
        (output,) = network(images)
    assert output.dtype == torch.bfloat16
    assert output.is_contiguous(memory_format=torch.channels_last)
    (expected,) = network(images)
    error = (output.float() - expected).square().mean().sqrt()
    assert error < 0.05 * expected.std()


@pytest.mark.parametrize('amp', [False, True], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize('padding', PADDINGS)
def test_gradient_reaches_every_parameter(padding, amp):
    torch.manual_seed(0)
    network = MobileNetV1(0.25, padding)
    with torch.autocast('cpu', torch.bfloat16, enabled=amp):
        (output,) = network(torch.randn(4, 3, 64, 32))
    # The mean of a normalised map has no gradient: weigh it.
    (output.float() * torch.randn(output.shape)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


class Convolutions(TorchDispatchMode):
    """Keeps whether each is depthwise, its stride and type."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution.default:
            self.seen.append((args[8] > 1, args[3][0], args[0].dtype))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('padding', PADDINGS)
def test_strided_depthwise_convolutions_stay_float32_on_a_cpu(padding):
    network = MobileNetV1(0.25, padding)
    with Convolutions() as convolutions:
        with torch.autocast('cpu', torch.bfloat16):
            network(torch.randn(2, 3, 64, 32))
    assert len(convolutions.seen) == 27
    for depthwise, stride, dtype in convolutions.seen:
        slow = depthwise and stride == 2
        assert dtype == (torch.float32 if slow else torch.bfloat16)


@pytest.mark.parametrize('width_mult', [0.25, 0.5, 0.75, 1.0, 1.3])
def test_width_multiplier(width_mult):
    backbone = MODELS.build(dict(type='MobileNetV1', width_mult=width_mult))
    output = backbone(torch.randn(2, 3, 65, 32))
    assert isinstance(output, tuple) and len(output) == 1
    assert output[0].shape == (2, int(1024 * width_mult), 3, 1)


def test_no_layer_gets_fewer_than_8_channels():
    (output,) = MobileNetV1(0.001)(torch.randn(2, 3, 32, 32))
    assert output.shape == (2, 8, 1, 1)


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(padding='valid'), "must be 'symmetric' or 'same', but is 'val"),
        (dict(width_mult=0), 'width_mult of MobileNetV1 must be positive'),
    ],
)
def test_bad_options(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MobileNetV1(**kwargs)


def test_norm_and_activation_are_options():
    network = MobileNetV1(
        0.25, norm_cfg=dict(type='BN', eps=0.5), act_cfg=dict(type='ReLU')
    )
    modules = list(network.modules())
    norms = [m for m in modules if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 27 and all(norm.eps == 0.5 for norm in norms)
    assert sum(isinstance(m, torch.nn.ReLU) for m in modules) == 27


@pytest.mark.parametrize('padding', PADDINGS)
def test_initialised_by_the_fan_in(padding):
    torch.manual_seed(0)
    network = MobileNetV1(padding=padding)
    network.init_weights()
    convolutions = [
        m for m in network.modules() if isinstance(m, torch.nn.Conv2d)
    ]
    assert len(convolutions) == 27
    for m in convolutions:
        expected = math.sqrt(2 / math.prod(m.weight.shape[1:]))
        assert float(m.weight.detach().std()) == pytest.approx(expected, 0.2)


@pytest.fixture
def initialise(tmp_path):
    """A backbone inside a model, from weights in a file."""

    class Model(BaseModel):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = MODELS.build(backbone)

        def forward(self):
            pass

    def initialise(content, width_mult=1.0, **init_cfg):
        file = str(tmp_path / 'mobilenet_v1.pth')
        if content is not None:
            torch.save(content, file)
        init_cfg = dict(type='Pretrained', checkpoint=file, **init_cfg)
        model = Model(
            dict(
                type='MobileNetV1',
                padding='same',
                width_mult=width_mult,
                init_cfg=init_cfg,
            )
        )
        model.init_weights()
        return model.backbone

    return initialise


def renamed(state_dict, start):
    return {start + key: value for key, value in state_dict.items()}


@pytest.mark.parametrize(
    'start, init_cfg',
    [
        ('', {}),
        # Left by DataParallel.
        ('module.', {}),
        ('identity_backbone.', dict(prefix='identity_backbone.')),
        ('backbone.', dict(prefix='backbone')),
    ],
    ids=['backbone', 'parallel', 'model', 'model, no dot'],
)
def test_pretrained_init_inside_a_model(weights, initialise, start, init_cfg):
    state_dict = convert(weights)
    content = dict(
        renamed(state_dict, start), **{'classifier.weight': torch.ones(2, 3)}
    )
    loaded = initialise(dict(state_dict=content), **init_cfg).state_dict()
    assert loaded.keys() == state_dict.keys()
    for name, value in state_dict.items():
        assert torch.equal(loaded[name], value), name


def test_pretrained_without_counts_of_batches(weights, initialise):
    """PyTorch has them only since 0.4.1."""
    state_dict = convert(weights)
    counts = [k for k in state_dict if k.endswith('num_batches_tracked')]
    assert counts
    loaded = initialise(
        {k: v for k, v in state_dict.items() if k not in counts}
    )
    last = 'layers.26.bn.running_var'
    assert torch.equal(loaded.state_dict()[last], state_dict[last])


def test_pretrained_weights_that_do_not_exist(initialise):
    with pytest.raises(
        FileNotFoundError,
        match=f"mobilenet_v1.pth' does not exist.* Make .*{CONVERTER}",
    ):
        initialise(None)


def test_pretrained_weights_of_another_network(weights, initialise):
    state_dict = convert(weights)
    last = 'layers.26.conv.weight'
    without = {k: v for k, v in state_dict.items() if k != last}
    first = 'layers.0.conv.weight'
    for content, init_cfg, message in (
        (weights, {}, f'file lacks {first}, .*{CONVERTER}'),
        (torch.ones(2), {}, f'file lacks {first}, .*{CONVERTER}'),
        (
            renamed(state_dict, 'backbone.'),
            {},
            f"file lacks {first}, .* Set init_cfg.prefix='backbone.'",
        ),
        (
            state_dict,
            dict(prefix='backbone.'),
            f"below 'backbone.' lacks {first}, .* Leave out init_cfg.prefix",
        ),
        (without, {}, rf'file lacks {last}\. .*{CONVERTER}'),
    ):
        with pytest.raises(ValueError, match=message):
            initialise(content, **init_cfg)


def test_pretrained_weights_of_another_width(weights, initialise):
    with pytest.raises(
        ValueError,
        match=r'has in another shape layers.0.conv.weight \(32, 3, 3, 3\) '
        rf'instead of \(16, 3, 3, 3\), .* width_mult=1 by {CONVERTER}',
    ):
        initialise(convert(weights), width_mult=0.5)


def test_checkpoint_of_a_model_needs_no_pretrained_file(weights):
    """The file counts when weights are initialised, not when loaded."""
    init_cfg = dict(type='Pretrained', checkpoint='nowhere.pth')
    network = MobileNetV1(init_cfg=init_cfg)
    network.load_state_dict(convert(weights))


@pytest.fixture(scope='module')
def imagenet():
    """Weights of ImageNet, TF-slim names, ``mobilenet_v1_1.0_*.pth``."""
    folder = os.environ.get('MMREID_WEIGHTS')
    if not folder:
        pytest.skip('MMREID_WEIGHTS does not name a folder of real weights')
    file = os.path.join(folder, 'mobilenet_v1_1.0_imagenet_tfslim.pth')
    if not os.path.isfile(file):
        pytest.skip(f'{file} does not exist')
    return torch.load(file, weights_only=True)


def drawings():
    """Black and white pictures, (3, 3, 224, 224), RGB in [-1, 1]."""
    y, x = torch.meshgrid(torch.arange(224), torch.arange(224), indexing='ij')
    radius = (x - 112.0).hypot(y - 112.0).long()
    fields = [x // 28 + y // 28, y // 8, radius // 8]
    return torch.stack(
        [(field % 2 * 2.0 - 1).expand(3, -1, -1) for field in fields]
    )


@pytest.mark.real_data
def test_imagenet_weights(imagenet):
    network = MobileNetV1(padding='same').eval()
    network.load_state_dict(convert(imagenet))
    with torch.no_grad():
        (output,) = network(drawings())
        expected = reference(imagenet, drawings(), same)
    torch.testing.assert_close(output, expected, rtol=1e-3, atol=1e-4)
    scores = F.linear(
        output.mean((2, 3)),
        imagenet['classifier.weight'].float(),
        imagenet['classifier.bias'],
    )
    # Class 0 is the background. A checkerboard is a crossword puzzle (for
    # padding='symmetric' it is not), stripes a window shade, rings a maze.
    assert (scores.argmax(1) - 1).tolist() == [918, 905, 646]

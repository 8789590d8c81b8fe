import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mmreid.datasets import VIPeR
from mmreid.evaluation import rank_metrics
from mmreid.models.backbones import LinearEndOSNet, OSNet
from mmreid.registry import MODELS

VARIANTS = ('plain', 'ibn', 'ain')
# Of stage (the convN of the keys) and block: where the instance norm stands.
INSTANCE_NORMS = dict(
    plain={},
    ibn={(2, 0): 'after', (2, 1): 'after'},
    ain={
        (2, 0): 'inside',
        (2, 1): 'inside',
        (3, 1): 'inside',
        (4, 0): 'inside',
    },
)


def randomise(network):
    """Give every parameter and buffer a value that can be told apart."""
    generator = torch.Generator().manual_seed(0)
    for value in network.state_dict().values():
        if value.dim() == 1:
            value.uniform_(0.5, 1.5, generator=generator)
    return network


def reference(weights, images, variant):
    """OSNet in evaluation, written down from the papers' tables."""

    def conv(x, name, **kwargs):
        bias = weights.get(f'{name}.bias')
        return F.conv2d(x, weights[f'{name}.weight'], bias, **kwargs)

    def scale_and_shift(name):
        return dict(
            weight=weights[f'{name}.weight'], bias=weights[f'{name}.bias']
        )

    def batch_norm(x, name):
        mean, var = (weights[f'{name}.running_{k}'] for k in ('mean', 'var'))
        return F.batch_norm(x, mean, var, **scale_and_shift(name))

    def instance_norm(x, name):
        return F.instance_norm(x, **scale_and_shift(name))

    def lite(x, name):
        x = conv(x, f'{name}.conv1')
        x = conv(x, f'{name}.conv2', padding=1, groups=x.shape[1])
        return batch_norm(x, f'{name}.bn').relu()

    def stream(x, name, t):
        if variant == 'ain':
            layers = [f'{name}.conv2.{t - 1}.layers.{i}' for i in range(t)]
        elif t == 1:
            layers = [f'{name}.conv2a']
        else:
            layers = [f'{name}.conv2{"abcd"[t - 1]}.{i}' for i in range(t)]
        for layer in layers:
            x = lite(x, layer)
        return x

    def gated(x, name):
        gate = conv(x.mean((2, 3), keepdim=True), f'{name}.fc1').relu()
        return x * conv(gate, f'{name}.fc2').sigmoid()

    def conv_bn(x, name):
        return batch_norm(conv(x, f'{name}.conv'), f'{name}.bn')

    def block(x, name, instance):
        reduced = conv_bn(x, f'{name}.conv1').relu()
        mixed = 0
        for t in (1, 2, 3, 4):
            mixed = mixed + gated(stream(reduced, name, t), f'{name}.gate')
        if instance == 'inside':
            out = conv(mixed, f'{name}.conv3.conv')
            out = instance_norm(out, f'{name}.IN')
        else:
            out = conv_bn(mixed, f'{name}.conv3')
        # Only the second block of a stage has as many channels as it gets.
        if name.endswith('.0'):
            x = conv_bn(x, f'{name}.downsample')
        out = out + x
        if instance == 'after':
            out = instance_norm(out, f'{name}.IN')
        return out.relu()

    x = conv(images, 'conv1.conv', stride=2, padding=3)
    norm = batch_norm if variant == 'plain' else instance_norm
    x = F.max_pool2d(norm(x, 'conv1.bn').relu(), 3, stride=2, padding=1)
    for stage in (2, 3, 4):
        for i in (0, 1):
            instance = INSTANCE_NORMS[variant].get((stage, i))
            x = block(x, f'conv{stage}.{i}', instance)
        if stage < 4:
            ain = variant == 'ain'
            transition = f'pool{stage}.0' if ain else f'conv{stage}.2.0'
            x = F.avg_pool2d(conv_bn(x, transition).relu(), 2)
    x = conv_bn(x, 'conv5').relu().mean((2, 3))
    x = F.linear(x, weights['fc.0.weight'], weights['fc.0.bias'])
    return batch_norm(x, 'fc.1').relu()


@pytest.mark.parametrize('width', [0.25, 0.5])
@pytest.mark.parametrize('variant', VARIANTS)
def test_is_the_papers_network(width, variant):
    torch.manual_seed(0)
    network = randomise(OSNet(width, variant).double().eval())
    images = torch.randn(2, 3, 64, 32).double()
    weights = dict(network.state_dict())
    with torch.no_grad():
        (output,) = network(images)
        expected = reference(weights, images, variant)
    assert output.shape == (2, 512) and expected.std() > 0.1
    torch.testing.assert_close(output, expected, rtol=1e-9, atol=1e-9)
    norms = {key for key in weights if key.endswith('.IN.weight')}
    assert norms == {
        f'conv{stage}.{i}.IN.weight' for stage, i in INSTANCE_NORMS[variant]
    }


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize(
    'width, million', [(0.25, 0.2), (0.5, 0.6), (0.75, 1.3), (1.0, 2.2)]
)
def test_number_of_parameters(width, variant, million):
    """As the papers give them, without a classifier."""
    with torch.device('meta'):
        network = OSNet(width, variant)
    count = sum(p.numel() for p in network.parameters())
    assert round(count / 1e6, 1) == million


@pytest.mark.parametrize('variant', VARIANTS)
def test_gradient_reaches_every_parameter(variant):
    torch.manual_seed(0)
    network = MODELS.build(
        dict(type='OSNet', width=0.25, variant=variant, feature_channels=6)
    )
    (output,) = network(torch.randn(4, 3, 64, 32))
    assert output.shape == (4, 6)
    (output * torch.randn(output.shape)).sum().backward()
    for name, parameter in network.named_parameters():
        # One gate channel may be off for all images.
        if '.gate.fc' not in name:
            assert parameter.grad is not None and parameter.grad.any(), name
    gates = [
        p.grad.any()
        for name, p in network.named_parameters()
        if '.gate.fc' in name
    ]
    assert sum(gates) > len(gates) / 2


def test_initialised_by_the_fan_out():
    torch.manual_seed(0)
    network = OSNet(0.5)
    network.init_weights()
    weights = network.state_dict()
    for name, fan_out in (('conv1.conv', 32 * 49), ('conv5.conv', 256)):
        std = float(weights[f'{name}.weight'].std())
        assert std == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
    assert float(weights['fc.0.weight'].std()) == pytest.approx(0.01, rel=0.1)
    assert not weights['conv2.0.gate.fc1.bias'].any()


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(variant='x1_0'), "must be one of .*'ain'.*, but is 'x1_0'"),
        (dict(width=0.2), 'must be at least 0.25, but is 0.2'),
    ],
)
def test_bad_options(kwargs, message):
    with pytest.raises(ValueError, match=message):
        OSNet(**kwargs)


@pytest.mark.parametrize('variant', VARIANTS)
def test_linear_end_is_osnet_before_its_last_relu(variant):
    torch.manual_seed(0)
    network = randomise(OSNet(0.25, variant)).eval()
    linear = LinearEndOSNet(0.25, variant).eval()
    linear.load_state_dict(network.state_dict())
    images = torch.randn(3, 3, 64, 32)
    (signed,), (features,) = linear(images), network(images)
    assert (signed < 0).any()
    assert torch.equal(signed.relu(), features)


def real(variable, name):
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f'{variable} does not name a folder')
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f'{path} does not exist')
    return str(path)


@pytest.mark.real_data
def test_weights_of_msmt17_on_viper():
    """All 632 persons of cam_a against all of cam_b."""
    file = real('MMREID_WEIGHTS', 'osnet_x0_25_msmt17_1041ids.pth')
    root = real('MMREID_DATA', 'viper')
    # Its classifier is left out.
    init_cfg = dict(type='Pretrained', checkpoint=file)
    network = OSNet(0.25, init_cfg=init_cfg).eval()
    network.init_weights()
    mean = torch.tensor([123.675, 116.28, 103.53])
    std = torch.tensor([58.395, 57.12, 57.375])

    def extract(split):
        dataset = VIPeR(
            root,
            split=split,
            pipeline=[
                dict(type='mmcv.LoadImageFromFile'),
                dict(type='mmcv.Resize', scale=(128, 256)),
            ],
        )
        features, ids = [], []
        for i in range(len(dataset)):
            entry = dataset[i]
            rgb = torch.from_numpy(entry['img'][..., ::-1].copy())
            image = ((rgb - mean) / std).permute(2, 0, 1)
            features.append(network(image[None])[0][0])
            ids.append(entry['person_id'])
        return torch.stack(features), ids

    with torch.no_grad():
        (query, ids), (gallery, gallery_ids) = map(
            extract, ('query', 'gallery')
        )
    metrics = rank_metrics(
        query, gallery, ids, gallery_ids, [0] * 632, [1] * 632
    )
    # Halves of it give 31.6 +- 1.5, chance 0.2.
    assert metrics['rank-1'] == pytest.approx(27.4, abs=1)

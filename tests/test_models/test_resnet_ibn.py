import mar_reference as ref
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmreid.models.backbones import ResNetIBN
from mmreid.registry import MODELS

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def randomise(network):
    """Give every parameter and buffer a value that can be told apart."""
    generator = torch.Generator().manual_seed(0)
    for value in network.state_dict().values():
        if value.dim() == 1:
            value.uniform_(0.5, 1.5, generator=generator)
    return network


def reference(weights, images, depth, strides, training):
    """ResNet-IBN-a, written down block by block."""

    def conv(x, name, **kwargs):
        return F.conv2d(x, weights[f'{name}.weight'], **kwargs)

    def batch_norm(x, name):
        mean, var = (weights[f'{name}.running_{k}'] for k in ('mean', 'var'))
        if training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        return scaled(x, mean[:, None, None], var[:, None, None], name)

    def instance_norm(x, name):
        mean = x.mean((2, 3), keepdim=True)
        var = x.var((2, 3), correction=0, keepdim=True)
        return scaled(x, mean, var, name)

    def scaled(x, mean, var, name):
        weight, bias = (weights[f'{name}.{k}'] for k in ('weight', 'bias'))
        x = (x - mean) / (var + 1e-5).sqrt()
        return x * weight[:, None, None] + bias[:, None, None]

    def ibn(x, name):
        half = x.shape[1] // 2
        return torch.cat(
            [
                instance_norm(x[:, :half], f'{name}.IN'),
                batch_norm(x[:, half:], f'{name}.BN'),
            ],
            1,
        )

    def block(x, name, stride, first_norm):
        out = first_norm(conv(x, f'{name}.conv1'), f'{name}.bn1').relu()
        out = conv(out, f'{name}.conv2', stride=stride, padding=1)
        out = batch_norm(out, f'{name}.bn2').relu()
        out = batch_norm(conv(out, f'{name}.conv3'), f'{name}.bn3')
        if name.endswith('.0'):
            x = conv(x, f'{name}.downsample.0', stride=stride)
            x = batch_norm(x, f'{name}.downsample.1')
        return (out + x).relu()

    x = conv(images, 'conv1', stride=2, padding=3)
    x = F.max_pool2d(batch_norm(x, 'bn1').relu(), 3, stride=2, padding=1)
    for i, (num_blocks, stride) in enumerate(
        zip(BLOCKS[depth], strides, strict=True)
    ):
        norm = ibn if i < 3 else batch_norm
        for j in range(num_blocks):
            name = f'layer{i + 1}.{j}'
            x = block(x, name, 1 if j else stride, norm)
    return x


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
@pytest.mark.parametrize(
    'depth, strides', [(50, (1, 2, 2, 2)), (50, (1, 2, 2, 1)), (101, None)]
)
def test_is_the_papers_network(depth, strides, training):
    options = dict(strides=strides) if strides else {}
    torch.manual_seed(0)
    network = MODELS.build(
        dict(
            type='ResNetIBN',
            depth=depth,
            stem_channels=4,
            base_channels=4,
            **options,
        )
    ).double()
    randomise(network).train(training)
    weights = {k: v.clone() for k, v in network.state_dict().items()}
    images = ref.double(2, 3, 64, 32)
    (output,) = network(images)
    strides = strides or (1, 2, 2, 2)
    expected = reference(weights, images, depth, strides, training)
    assert output.shape[2:] == ((4, 2) if strides[3] == 1 else (2, 1))
    assert expected.std() > 0.1
    ref.close(output, expected)


def test_names_of_the_authors():
    keys = ResNetIBN(depth=50, base_channels=4).state_dict().keys()
    instance = {k for k in keys if k.endswith('.IN.weight')}
    assert instance == {
        f'layer{i + 1}.{j}.bn1.IN.weight'
        for i, count in enumerate(BLOCKS[50][:3])
        for j in range(count)
    }
    batch = {k for k in keys if k.endswith('.BN.running_var')}
    assert len(batch) == len(instance)
    assert 'layer4.0.bn1.weight' in keys and 'layer1.0.bn2.weight' in keys


def test_gradient_reaches_every_parameter():
    torch.manual_seed(0)
    backbone = ResNetIBN(depth=50, stem_channels=4, base_channels=4)
    (output,) = backbone(torch.randn(4, 3, 64, 32))
    # The mean of a normalised map has no gradient: weigh it.
    (output * torch.randn_like(output)).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_options_of_resnet_hold_for_the_norms():
    backbone = ResNetIBN(
        depth=50,
        stem_channels=4,
        base_channels=4,
        norm_cfg=dict(type='SyncBN'),
        norm_eval=True,
        frozen_stages=2,
    )
    backbone.train()
    norm = backbone.layer1[0].bn1
    assert isinstance(norm.BN, nn.SyncBatchNorm)
    assert not any(p.requires_grad for p in norm.parameters())
    norm = backbone.layer3[0].bn1
    assert all(p.requires_grad for p in norm.parameters())
    assert not norm.BN.training

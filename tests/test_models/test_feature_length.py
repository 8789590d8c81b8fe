import copy
import functools

import numpy as np
import pytest
import torch
from mmpretrain.models import GlobalAveragePooling
from torch import nn

from mmreid.models.backbones import OSNet
from mmreid.models.necks import BNNeck, GeM, GlobalPooling
from mmreid.models.utils import feature_length
from mmreid.registry import MODELS

SMALL_VIT = dict(
    type='mmpretrain.VisionTransformer',
    arch=dict(
        embed_dims=12, num_layers=1, num_heads=2, feedforward_channels=8
    ),
    img_size=(64, 32),
    patch_size=16,
)
BACKBONES = {
    'resnet': (
        dict(type='mmpretrain.ResNet', depth=18, base_channels=4),
        32,
    ),
    'linear end': (
        dict(type='LinearEndResNet', depth=18, base_channels=4),
        32,
    ),
    'resnet ibn': (
        dict(type='ResNetIBN', depth=50, base_channels=4),
        128,
    ),
    'mobilenet': (dict(type='MobileNetV1', width_mult=0.25), 256),
    'osnet': (dict(type='OSNet', width=0.25), 512),
    'osnet of 7': (
        dict(type='OSNet', width=0.25, variant='ain', feature_channels=7),
        7,
    ),
    'vit, class token': (SMALL_VIT, 12),
    'vit, all tokens': (dict(SMALL_VIT, out_type='raw'), 12),
    'vit, map': (dict(SMALL_VIT, out_type='featmap'), 12),
    'swin': (
        dict(
            type='mmpretrain.SwinTransformer',
            arch=dict(
                embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1]
            ),
            # No other size goes through its windows.
            img_size=(112, 56),
            window_size=7,
            pad_small_map=True,
        ),
        64,
    ),
    # Of one size only, which it does not tell.
    'tnt': (
        dict(
            type='mmpretrain.TNT',
            arch=dict(
                embed_dims_outer=6,
                embed_dims_inner=4,
                num_layers=1,
                num_heads_outer=1,
                num_heads_inner=1,
            ),
        ),
        6,
    ),
}
DEVICES = pytest.mark.parametrize('device', ['cpu', 'meta'])


def build(config, device, monkeypatch):
    # mmpretrain reads numbers off a tensor, which the meta device has not.
    linspace = functools.partial(torch.linspace, device='cpu')
    monkeypatch.setattr(torch, 'linspace', linspace)
    with torch.device(device):
        return MODELS.build(config)


@DEVICES
@pytest.mark.parametrize('name', BACKBONES)
def test_length(name, device, monkeypatch):
    config, length = BACKBONES[name]
    backbone = build(config, device, monkeypatch)
    assert feature_length(backbone, GlobalPooling()) == length


def test_neck_decides():
    class Stripes(nn.Module):
        """Mean of the upper and of the lower half, side by side."""

        def forward(self, outputs):
            halves = outputs[-1].chunk(2, dim=2)
            return torch.cat([half.mean((2, 3)) for half in halves], 1)

    config, length = BACKBONES['resnet']
    backbone = MODELS.build(config)
    assert feature_length(backbone, Stripes()) == 2 * length
    assert feature_length(backbone, GeM()) == length
    neck = nn.Sequential(GlobalPooling(), BNNeck(length))
    assert feature_length(backbone, neck) == length


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_other_types(dtype):
    assert feature_length(OSNet(0.25).to(dtype), GlobalPooling()) == 512


class Noisy(nn.Module):
    """Draws, even in evaluation."""

    def forward(self, x):
        return x + torch.rand(x.shape)


def test_nothing_stays():
    backbone = MODELS.build(
        dict(
            type='mmpretrain.ResNet',
            depth=18,
            base_channels=4,
            # Its train() sets modes of its own.
            norm_eval=True,
            frozen_stages=1,
        )
    )
    neck = nn.Sequential(GlobalPooling(), BNNeck(32), Noisy())
    backbone.layer1[0].bn1.train()
    backbone.layer4.eval()
    neck[1].eval()
    both = nn.ModuleList([backbone, neck])
    modes = [module.training for module in both.modules()]
    assert set(modes) == {True, False}
    state = copy.deepcopy(both.state_dict())
    torch.manual_seed(3)
    np.random.seed(3)
    random = torch.get_rng_state()
    for _ in range(2):
        assert feature_length(backbone, neck) == 32
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in both.modules()] == modes
    for name, value in both.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert all(p.grad is None for p in both.parameters())


def test_modes_are_restored_after_an_error():
    backbone = MODELS.build(BACKBONES['resnet'][0])
    backbone.layer1.eval()
    neck = nn.Sequential(GlobalPooling(), BNNeck(31))
    with pytest.raises((ValueError, RuntimeError)):
        feature_length(backbone, neck)
    assert neck[1].bn.training and backbone.layer2.training
    assert not backbone.layer1[0].training


@DEVICES
@pytest.mark.parametrize(
    'neck, shape',
    [
        # Gives a tuple for a tuple.
        (GlobalAveragePooling(), r'a tuple of \(1, 32\)'),
        (nn.Identity(), r'a tuple of \(1, 32, 7, 7\)'),
        (nn.Sequential(GlobalPooling(), nn.Flatten(0)), r'\(32,\)'),
    ],
    ids=['tuple', 'map', 'one dimension'],
)
def test_no_vector(neck, shape, device, monkeypatch):
    backbone = build(BACKBONES['resnet'][0], device, monkeypatch)
    with pytest.raises(
        ValueError,
        match=r'224x224 .* ResNet makes a tuple of \(1, 32, 7, 7\), .* '
        f'makes {shape}, .*GlobalPooling',
    ):
        feature_length(backbone, neck)


TIMM = {
    'vit': (dict(model_name='vit_tiny_patch16_224', depth=1), 192),
    'vit of persons': (
        dict(model_name='vit_tiny_patch16_224', depth=1, img_size=(256, 128)),
        192,
    ),
    'vit without class token': (
        dict(model_name='vit_base_patch16_siglip_224', depth=1),
        768,
    ),
    'mixer': (dict(model_name='mixer_s32_224'), 512),
    'resnet': (dict(model_name='resnet18'), 512),
    'pyramid': (dict(model_name='resnet18', features_only=True), 512),
}


@DEVICES
@pytest.mark.parametrize('name', TIMM)
def test_length_of_timm(name, device, monkeypatch):
    pytest.importorskip('timm')
    kwargs, length = TIMM[name]
    config = dict(type='mmpretrain.TIMMBackbone', **kwargs)
    backbone = build(config, device, monkeypatch)
    assert feature_length(backbone, GlobalPooling()) == length


def test_timm_with_channels_last():
    pytest.importorskip('timm')
    backbone = MODELS.build(
        dict(
            type='mmpretrain.TIMMBackbone',
            model_name='swin_tiny_patch4_window7_224',
            depths=(1, 1, 1, 1),
        )
    )
    with pytest.raises(ValueError, match=r'\(N, h, w, C\).*mmpretrain.Swin'):
        feature_length(backbone, GlobalPooling())

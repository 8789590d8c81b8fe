import logging

import pytest
import torch
from mmengine.runner import load_checkpoint
from tiny_mar import batch_info
from torch import nn

from mmreid.models import BaseReID
from mmreid.registry import MODELS


@MODELS.register_module(force=True)
class BaseTinyBackbone(nn.Module):
    def __init__(self, channels=4):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, 2)

    def forward(self, x):
        return (self.conv(x),)


class Tiny(BaseReID):
    """An algorithm that notes what it computes in."""

    stages = dict(train=dict(source=['person_id']))
    stage_state = ('memory',)
    fresh_heads = ('classifier',)

    def __init__(self, num_classes=5, channels=4, **kwargs):
        super().__init__(
            backbone=dict(type='BaseTinyBackbone', channels=channels), **kwargs
        )
        self.classifier = nn.Linear(self.feature_length, num_classes)
        self.memory = nn.Module()
        self.memory.register_buffer('rows', torch.zeros(3))

    def loss(self, batch, info):
        source = info.part(batch, 'source')
        features = self.extract_feat(source['inputs'])
        logits = self.classifier(features)
        self.dtypes = (
            self.backbone.conv(source['inputs']).dtype,
            self.seen,
            features.dtype,
            logits.dtype,
            (logits @ logits.t()).dtype,
        )
        return dict(loss=logits.square().mean())


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    model = Tiny()

    def note(module, inputs, output):
        model.seen = output.dtype

    model.backbone.conv.register_forward_hook(note)
    return model


def load(model, state_dict, tmp_path):
    torch.save(dict(state_dict=state_dict), tmp_path / 'a.pth')
    load_checkpoint(model, str(tmp_path / 'a.pth'), map_location='cpu')


def test_an_outer_autocast_reaches_the_backbone_alone(tiny):
    inputs, samples = torch.randn(2, 3, 8, 8), dict(person_id=torch.arange(2))
    info = batch_info('train', source=2)
    plain = tiny(inputs, samples, mode='loss', info=info)['loss']
    with torch.autocast('cpu', torch.bfloat16):
        loss = tiny(inputs, samples, mode='loss', info=info)['loss']
        seen = []
        hook = tiny.backbone.register_forward_hook(
            lambda module, args, output: seen.append(output[0].dtype)
        )
        tiny(inputs, samples, mode='loss', info=info)
        hook.remove()
        # And is itself again afterwards.
        assert torch.is_autocast_enabled('cpu')
    assert seen == [torch.bfloat16]
    assert tiny.dtypes[2:] == (torch.float32,) * 3
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, plain, rtol=0.05, atol=0.01)
    # Without it the backbone is in float32 again.
    again = tiny(inputs, samples, mode='loss', info=info)['loss']
    assert torch.equal(again, plain)


def test_amp_pools_in_float32():
    torch.manual_seed(0)
    model = Tiny(amp=True)
    seen = []
    model.neck.register_forward_hook(
        lambda module, args, output: seen.append((args[0].dtype, output.dtype))
    )
    model.extract_feat(torch.randn(2, 3, 8, 8))
    assert seen == [(torch.float32, torch.float32)]


def test_channels_last_changes_the_layout_alone():
    model = Tiny(channels_last=True)
    model.load_state_dict(Tiny().state_dict())
    plain = Tiny()
    plain.load_state_dict(model.state_dict())
    layouts = []
    model.backbone.conv.register_forward_hook(
        lambda module, args, output: layouts.append(
            args[0].is_contiguous(memory_format=torch.channels_last)
        )
    )
    inputs = torch.randn(2, 3, 8, 8)
    features = model.extract_feat(inputs)
    assert layouts == [True] and features.dtype == torch.float32
    torch.testing.assert_close(features, plain.extract_feat(inputs))
    weight = model.backbone.conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_compiled_backbone_keeps_its_names(monkeypatch):
    compile = torch.nn.Module.compile
    called = []

    def note(self):
        called.append(self)
        # Without a compiler, which takes a minute.
        compile(self, backend='eager')

    monkeypatch.setattr(torch.nn.Module, 'compile', note)
    assert Tiny(compile_backbone=True).state_dict().keys() == (
        Tiny().state_dict().keys()
    )
    assert len(called) == 1


@pytest.mark.parametrize('by', ['torch', 'mmengine'])
def test_what_a_checkpoint_must_hold(tiny, tmp_path, by):
    def fill(states):
        if by == 'torch':
            tiny.load_state_dict(states, strict=False)
        else:
            load(tiny, states, tmp_path)

    states = {k: v + 1 for k, v in tiny.state_dict().items()}
    own = {k: v.clone() for k, v in tiny.state_dict().items()}
    for change, message in (
        (
            dict(states, extra=torch.zeros(1)),
            r'another model than Tiny: .* it has besides 1 \(extra\)',
        ),
        (
            {k: v for k, v in states.items() if k != 'backbone.conv.bias'},
            r'it lacks 1 \(backbone.conv.bias\)',
        ),
        (
            {f'net.{k}': v for k, v in states.items()},
            'it lacks 2 .*; it has besides',
        ),
        (
            dict(states, **{'backbone.conv.bias': torch.zeros(7)}),
            r'of another shape are 1 \(backbone.conv.bias \(7,\) rather',
        ),
        ({}, 'it lacks 2'),
    ):
        with pytest.raises(ValueError, match=message):
            fill(change)
        # Nothing was loaded.
        for key, value in tiny.state_dict().items():
            assert torch.equal(value, own[key]), key
    fill(states)
    for key, value in tiny.state_dict().items():
        assert torch.equal(value, states[key]), key


def test_state_of_a_stage_may_be_absent(tiny, tmp_path):
    states = tiny.state_dict()
    del states['memory.rows']
    load(tiny, states, tmp_path)


@pytest.mark.parametrize('missing', [False, True])
def test_classifier_of_other_identities_is_dropped(tmp_path, caplog, missing):
    states = Tiny(num_classes=9).state_dict()
    if missing:
        states = {k: v for k, v in states.items() if 'classifier' not in k}
    model = Tiny()
    before = model.classifier.weight.detach().clone()
    with caplog.at_level(logging.INFO):
        load(model, states, tmp_path)
    assert torch.equal(model.classifier.weight, before)
    weight = states['backbone.conv.weight']
    assert torch.equal(model.backbone.conv.weight, weight)


def test_weights_of_a_backbone_alone(tmp_path):
    """As people publish them, with a classifier of their own."""
    backbone = Tiny(channels=4).backbone.state_dict()
    states = dict(backbone, **{'classifier.weight': torch.ones(1041, 4)})
    model = Tiny()
    load(model, states, tmp_path)
    for key, value in backbone.items():
        assert torch.equal(model.backbone.state_dict()[key], value)
    with pytest.raises(ValueError, match='another model than Tiny'):
        load(Tiny(channels=6), states, tmp_path)


def test_sizes_are_worked_out():
    model = Tiny(channels=6)
    assert model.feature_length == 6
    assert model.classifier.in_features == 6
    with pytest.raises(ValueError, match='model.x.a is 3, but it is 4 by'):
        model.with_sizes('model.x', dict(type='X', a=3), a=4)


def test_unknown_mode(tiny):
    with pytest.raises(ValueError, match="mode must be .* 'train'"):
        tiny(torch.zeros(1, 3, 8, 8), mode='train')

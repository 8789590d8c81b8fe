import pytest
import torch
from test_mar import CHANNELS, NUM_AGENTS, DoubleMAR, mar, step_data
from tiny_mar import batch_info

from mmreid.models import ReferenceAgentHead, SourceFreeMAR


class DoubleSourceFreeMAR(SourceFreeMAR, DoubleMAR):
    """In float64: the features are not cast."""


def without_source(batch, info):
    part = info.part(batch, 'target')
    return part, batch_info('main', target=len(part['inputs']))


@pytest.mark.parametrize('references', [True, False])
def test_losses_are_those_of_mar_without_its_source(references):
    """Which are compared with the equations in test_main_stage_over_steps."""

    def build(cls, scale):
        cfg = dict(type='CameraReferences', momentum_scale=scale)
        return mar(cls, references=cfg if references else None).train()

    # mu and sigma move by the batch's size over the scale: 15 and 9 images.
    whole, ours = build(DoubleMAR, 1500), build(DoubleSourceFreeMAR, 900)
    for step in range(4):
        batch, info = step_data(step)
        expected = whole.loss(batch, info)
        losses = ours.loss(*without_source(batch, info))
        assert losses.keys() == expected.keys() - {
            'loss_al',
            'loss_rj',
            'source_accuracy',
        }
        for name, value in losses.items():
            torch.testing.assert_close(value, expected[name], msg=name)
        for model, found in ((whole, expected), (ours, losses)):
            model.zero_grad()
            (found['loss_cml'] + found['loss_mdl']).backward()
        for own, other in zip(
            ours.backbone.parameters(),
            whole.backbone.parameters(),
            strict=True,
        ):
            assert own.grad.abs().max() > 0
            torch.testing.assert_close(own.grad, other.grad)
        assert ours.head.agents.grad is None


def test_agents_are_a_classifier_s_rows(tmp_path):
    rows = torch.randn(NUM_AGENTS, CHANNELS)
    file = str(tmp_path / 'network.pth')
    torch.save(
        {
            'conv.weight': torch.zeros(2),
            'classifier.weight': rows,
            'classifier.bias': torch.ones(NUM_AGENTS),
        },
        file,
    )
    init_cfg = dict(type='Pretrained', checkpoint=file, prefix='classifier')
    head = ReferenceAgentHead(NUM_AGENTS, CHANNELS, init_cfg=init_cfg)
    head.init_weights()
    assert torch.equal(head.agents, rows)
    assert head.scale == 30
    head = ReferenceAgentHead(NUM_AGENTS + 1, CHANNELS, init_cfg=init_cfg)
    with pytest.raises(ValueError, match='6 .* agents of 5 chan.* 7'):
        head.init_weights()


def test_nothing_measures_the_scale():
    with pytest.raises(ValueError, match="scale='auto' is measured on source"):
        SourceFreeMAR(
            head=dict(type='ReferenceAgentHead', num_agents=3, scale='auto'),
            backbone=dict(type='TinyNormBackbone'),
        )

import pytest
import torch
import torch.nn.functional as F
from tiny_mar import batch_info
from torch import nn

from mmreid.models import JointSupervision
from mmreid.registry import MODELS


@MODELS.register_module(force=True)
class JointTinyBackbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2)

    def forward(self, x):
        return (self.conv(x),)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return JointSupervision(
        num_identities=4,
        num_attributes=3,
        backbone=dict(type='JointTinyBackbone'),
    )


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    samples = dict(
        person_id=torch.tensor([0, 3, 1]),
        attributes=torch.tensor([[0, 1, 1], [1, -1, 0], [0, 0, 1]]),
    )
    return torch.randn(3, 3, 9, 9, generator=generator), samples


def test_both_losses_reach_the_shared_network(model, batch):
    inputs, samples = batch
    info = batch_info('joint', source=3)
    losses = model(inputs, samples, mode='loss', info=info)
    features = model.backbone(inputs)[0].mean((2, 3))
    ids = model.identity_classifier(features)
    attributes = model.attribute_classifier(features)
    loss_id = F.cross_entropy(ids, samples['person_id'])
    # The unknown one, of image 1, aside.
    terms = F.binary_cross_entropy_with_logits(
        attributes, samples['attributes'].clamp(0).float(), reduction='none'
    )
    loss_att = (terms.sum() - terms[1, 1]) / 3
    total, log = model.parse_losses(losses)
    assert losses.keys() == {
        *('loss_id', 'loss_att', 'source_accuracy', 'attribute_accuracy')
    }
    torch.testing.assert_close(losses['loss_id'], loss_id)
    torch.testing.assert_close(losses['loss_att'], loss_att)
    torch.testing.assert_close(total, loss_id + loss_att)
    parameters = list(model.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(total, parameters),
        torch.autograd.grad(loss_id + loss_att, parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
    known = samples['attributes'] >= 0
    right = ((attributes > 0) == samples['attributes'])[known]
    assert len(right) == 8
    assert log['attribute_accuracy'] == pytest.approx(
        100 * right.double().mean().item()
    )
    right = ids.argmax(1) == samples['person_id']
    assert log['source_accuracy'] == pytest.approx(
        100 * right.double().mean().item()
    )


def test_predict(model, batch):
    inputs, samples = batch
    model.eval()
    (result,) = model(inputs, samples, mode='predict')
    torch.testing.assert_close(result['features'], model(inputs))
    torch.testing.assert_close(
        result['attribute_scores'],
        model.attribute_classifier(model(inputs)).sigmoid(),
    )
    assert result['person_id'] is samples['person_id']


def test_attributes_that_do_not_fit(model, batch):
    inputs, samples = batch
    samples['attributes'] = torch.zeros(3, 5)
    with pytest.raises(ValueError, match=r'\(3, 5\).*\(3, 3\)'):
        model(
            inputs,
            samples,
            mode='loss',
            info=batch_info('joint', source=3),
        )

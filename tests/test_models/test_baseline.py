import mar_reference as ref
import pytest
import torch
from mmengine.runner import load_checkpoint
from tiny_mar import batch_info
from torch import nn

from mmreid.models import Baseline
from mmreid.registry import MODELS

NUM_IDENTITIES, CHANNELS = 5, 6


@MODELS.register_module(force=True)
class BaselineTinyBackbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, 3, 2)

    def forward(self, x):
        return (self.conv(x),)


class DoubleBaseline(Baseline):
    """In float64: the features are not cast."""

    def run_backbone(self, backbone, inputs):
        return self.neck(backbone(inputs))


def baseline(cls=DoubleBaseline, **kwargs):
    torch.manual_seed(0)
    model = cls(
        **(
            dict(
                num_identities=NUM_IDENTITIES,
                backbone=dict(type='BaselineTinyBackbone'),
            )
            | kwargs
        )
    )
    with torch.no_grad():
        # Logits of a size to speak of.
        model.classifier.weight.mul_(500)
    return model.double() if cls is DoubleBaseline else model


def batch(num=8):
    images = ref.double(num, 3, 9, 9, seed=2)
    person_id = torch.tensor([0, 0, 1, 1, 2, 2, 4, 3])[:num]
    return dict(inputs=images, person_id=person_id), batch_info(
        'train', source=num
    )


def slow_losses(model, images, labels, smoothing, margin):
    """The equations, image by image."""
    pooled = model.backbone(images)[0].mean((2, 3))
    normed = pooled
    if model.bn_neck:
        mean = pooled.mean(0)
        var = ((pooled - mean) ** 2).mean(0)
        (weight,) = model.bn_neck.parameters()
        normed = weight * (pooled - mean) / (var + 1e-5).sqrt()
    loss_id = 0
    for feature, label in zip(normed, labels, strict=True):
        logits = model.classifier.weight @ feature
        if model.classifier.bias is not None:
            logits = logits + model.classifier.bias
        log_p = torch.log(torch.exp(logits) / torch.exp(logits).sum())
        for j in range(NUM_IDENTITIES):
            q = smoothing / NUM_IDENTITIES + (1 - smoothing) * (j == label)
            loss_id = loss_id - q * log_p[j] / len(labels)
    terms = []
    for i, label in enumerate(labels):
        distances = [((pooled[i] - x) ** 2).sum() ** 0.5 for x in pooled]
        same = [
            d for j, d in enumerate(distances) if labels[j] == label and j != i
        ]
        other = [d for j, d in enumerate(distances) if labels[j] != label]
        if same and other:
            hinge = margin + max(same) - min(other)
            terms.append(torch.clamp(hinge, min=0))
    return loss_id, sum(terms) / len(terms)


@pytest.mark.parametrize(
    'options, smoothing, margin',
    [
        (dict(), 0.1, 0.3),
        (dict(bn_neck=None), 0.1, 0.3),
        (
            dict(
                loss_id=dict(type='CrossEntropyLoss'),
                loss_triplet=dict(type='BatchHardTripletLoss', margin=4.0),
            ),
            0,
            4.0,
        ),
    ],
    ids=str,
)
def test_losses_and_gradients(options, smoothing, margin):
    model = baseline(**options).train()
    data, info = batch()
    losses = model.loss(data, info)
    assert losses.keys() == {'loss_id', 'loss_triplet', 'source_accuracy'}
    expected = slow_losses(
        model, data['inputs'], data['person_id'].tolist(), smoothing, margin
    )
    parameters = list(model.parameters())
    for name, value in zip(('loss_id', 'loss_triplet'), expected, strict=True):
        ref.close(losses[name], value)
        ours, theirs = (
            torch.autograd.grad(
                loss, parameters, retain_graph=True, allow_unused=True
            )
            for loss in (losses[name], value)
        )
        for one, other in zip(ours, theirs, strict=True):
            if one is None or other is None:
                # The triplets know neither neck nor classifier.
                assert name == 'loss_triplet' and one is other is None
            else:
                ref.close(one, other)


def test_without_triplets():
    model = baseline(loss_triplet=None)
    assert model.loss(*batch()).keys() == {'loss_id', 'source_accuracy'}


def test_feature_is_that_after_the_neck():
    model = baseline(Baseline).eval()
    with torch.no_grad():
        model.bn_neck.bn.running_mean.normal_()
        images = batch()[0]['inputs'].float()
        pooled = model.backbone(images)[0].mean((2, 3))
        features = model.extract_feat(images)
    torch.testing.assert_close(features, model.bn_neck(pooled).detach())
    assert not torch.allclose(features, pooled)
    # No bias before or in the classifier.
    assert model.classifier.bias is None
    assert [n for n, _ in model.bn_neck.named_parameters()] == ['bn.weight']


def test_checkpoint_of_other_identities(tmp_path, monkeypatch):
    other = baseline(Baseline, num_identities=9)
    model = baseline(Baseline)
    with torch.no_grad():
        other.bn_neck.bn.weight.fill_(2)
        model.backbone.conv.weight.zero_()
        model.bn_neck.bn.weight.zero_()
    torch.save(dict(state_dict=other.state_dict()), tmp_path / 'a.pth')
    before = model.classifier.weight.detach().clone()
    logged = []
    monkeypatch.setattr(
        'mmreid.models.algorithms.base.print_log',
        lambda message, logger: logged.append(message),
    )
    load_checkpoint(model, str(tmp_path / 'a.pth'))
    assert torch.equal(model.backbone.conv.weight, other.backbone.conv.weight)
    # The neck fits, and belongs to the features.
    assert (model.bn_neck.bn.weight == 2).all()
    assert torch.equal(model.classifier.weight, before)
    (message,) = logged
    assert "{'classifier.weight': (9, 6)}" in message
    # A network of another kind is no matter of identities.
    states = other.state_dict()
    states['backbone.conv.weight'] = torch.zeros(CHANNELS, 3, 5, 5)
    torch.save(dict(state_dict=states), tmp_path / 'b.pth')
    with pytest.raises(ValueError, match='of another shape are 1 .backbone'):
        load_checkpoint(model, str(tmp_path / 'b.pth'))

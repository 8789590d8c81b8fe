import mar_reference as ref
import pytest
import torch
from tiny_mar import batch_info
from torch import nn

from mmreid.models import ClusterContrast
from mmreid.registry import MODELS

CHANNELS, NUM_IMAGES = 6, 10


@MODELS.register_module(force=True)
class ClusterTinyBackbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, 3, 2)

    def forward(self, x):
        return (self.conv(x),)


class DoubleClusterContrast(ClusterContrast):
    """In float64: the features are not cast."""

    def run_backbone(self, backbone, inputs):
        return self.neck(backbone(inputs))


def model(**kwargs):
    torch.manual_seed(0)
    options = dict(
        clusterer=dict(type='KMeans', num_clusters=3),
        backbone=dict(type='ClusterTinyBackbone'),
        memory=dict(type='ClusterMemory', temperature=0.1, momentum=0.3),
    )
    model = DoubleClusterContrast(**(options | kwargs)).double()
    model.clusters.allocate(NUM_IMAGES)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, -1, 0, 1, -1])
    model.clusters.assign(labels, 0)
    features = torch.nn.functional.normalize(
        ref.double(NUM_IMAGES, CHANNELS, seed=4)
    )
    model.memory.start(features, labels)
    return model


def batch():
    images = ref.double(6, 3, 9, 9, seed=2)
    index = torch.tensor([7, 1, 3, 8, 5, 4])
    return dict(inputs=images, sample_idx=index), batch_info(
        'cluster', target=6
    )


def slow_loss(model, images, labels, rows):
    """The equation, image by image."""
    pooled = model.backbone(images)[0].mean((2, 3))
    if model.bn_neck:
        mean = pooled.mean(0)
        var = ((pooled - mean) ** 2).mean(0)
        (weight,) = model.bn_neck.parameters()
        pooled = weight * (pooled - mean) / (var + 1e-5).sqrt()
    total = 0
    for feature, k in zip(pooled, labels, strict=True):
        f = feature / (feature @ feature).sqrt()
        terms = [torch.exp(f @ phi / 0.1) for phi in rows]
        total = total - torch.log(terms[k] / sum(terms))
    return total / len(labels)


@pytest.mark.parametrize('bn_neck', [dict(type='BNNeck'), None])
def test_loss_and_gradient(bn_neck):
    ours = model(bn_neck=bn_neck)
    rows = ours.memory.rows.clone()
    data, info = batch()
    found = ours.loss(data, info)
    found['loss_contrast'].backward()
    theirs = model(bn_neck=bn_neck)
    labels = [0, 0, 1, 1, 2, 2]
    expected = slow_loss(theirs, data['inputs'], labels, rows)
    expected.backward()
    torch.testing.assert_close(found['loss_contrast'], expected)
    for (name, own), other in zip(
        ours.named_parameters(), theirs.parameters(), strict=True
    ):
        assert own.grad.abs().max() > 0
        torch.testing.assert_close(own.grad, other.grad, msg=name)
    # The memory has moved, as the images of the batch say.
    ours.eval(), theirs.train()
    features = theirs.extract_feat(data['inputs']).detach()
    theirs.memory.update(features, torch.tensor(labels))
    torch.testing.assert_close(ours.memory.rows, theirs.memory.rows)
    assert not torch.equal(ours.memory.rows, rows)


def test_features_have_unit_norm():
    features = model().eval()(batch()[0]['inputs'])
    torch.testing.assert_close(
        features.norm(dim=1), torch.ones(6, dtype=torch.float64)
    )

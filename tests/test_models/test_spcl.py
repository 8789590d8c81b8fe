import mar_reference as ref
import pytest
import torch
from test_cluster_contrast import CHANNELS, NUM_IMAGES, ClusterTinyBackbone
from tiny_mar import batch_info
from torch import nn

from mmreid.models import HybridMemory, SpCL
from mmreid.registry import MODELS

CLASSES = 4
LABELS = torch.tensor([0, 0, 1, 1, 2, 2, -1, 0, 1, -1])
TAU, M = 0.1, 0.3


@MODELS.register_module(force=True)
class SpCLTinyBackbone(ClusterTinyBackbone):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(CHANNELS)

    def forward(self, x):
        return (self.norm(self.conv(x)),)


class DoubleSpCL(SpCL):
    """In float64: the features are not cast."""

    def run_backbone(self, backbone, inputs):
        return self.neck(backbone(inputs)[0])


def unit(*shape, seed):
    return torch.nn.functional.normalize(ref.double(*shape, seed=seed))


def model(**kwargs):
    torch.manual_seed(0)
    options = dict(
        clusterer=dict(type='SelfPacedDBSCAN'),
        backbone=dict(type='SpCLTinyBackbone'),
        memory=dict(type='HybridMemory', temperature=TAU, momentum=M),
    )
    model = DoubleSpCL(**(options | kwargs)).double()
    model.clusters.allocate(NUM_IMAGES)
    model.clusters.assign(LABELS, 0)
    source = unit(8, CHANNELS, seed=5)
    person_id = torch.arange(8) % CLASSES
    model.memory.start(source, person_id, unit(NUM_IMAGES, CHANNELS, seed=4))
    return model


def batch():
    images = ref.double(11, 3, 9, 9, seed=2)
    # Target images of a cluster, two outliers, and one image twice.
    index = torch.tensor([7, 1, 3, 6, 9, 4, 4])
    return dict(
        inputs=images,
        sample_idx=torch.cat([torch.tensor([0, 5, 6, 2]), index]),
        person_id=torch.tensor([1, 1, 3, 0, *[-1] * 7]),
    ), batch_info('cluster', source=4, target=7)


def normalised(x, norm):
    dims = [d for d in range(x.dim()) if d != 1]
    mean = x.mean(dims, keepdim=True)
    var = ((x - mean) ** 2).mean(dims, keepdim=True)
    shape = [1, -1] + [1] * (x.dim() - 2)
    x = (x - mean) / (var + norm.eps).sqrt() * norm.weight.view(shape)
    return x if norm.bias is None else x + norm.bias.view(shape)


def slow_features(model, images, norms):
    x = normalised(model.backbone.conv(images), norms[0]).mean((2, 3))
    x = normalised(x, norms[1])
    return [f / (f @ f).sqrt() for f in x]


def slow_losses(model, data, rows):
    """Eq. 1, image by image, and the rows after Eq. 2 and 4."""
    norms = [model.backbone.norm, model.bn_neck.bn]
    source = slow_features(model, data['inputs'][:4], model.source_norms)
    target = slow_features(model, data['inputs'][4:], norms)
    w, v = rows[:CLASSES], rows[CLASSES:]
    clusters = [v[LABELS == k].mean(0) for k in range(3)]
    outliers = {6: v[6], 9: v[9]}
    everything = [*w, *clusters, *outliers.values()]
    losses, moved = [[], []], {}
    images = [*source, *target]
    for n, (f, index) in enumerate(
        zip(images, data['sample_idx'].tolist(), strict=True)
    ):
        if n < 4:
            row = int(data['person_id'][n])
            z = w[row]
        else:
            row = CLASSES + index
            label = int(LABELS[index])
            z = clusters[label] if label >= 0 else outliers[index]
        total = sum(torch.exp(f @ other / TAU) for other in everything)
        losses[n >= 4].append(-torch.log(torch.exp(f @ z / TAU) / total))
        moved.setdefault(row, []).append(f.detach())
    after = rows.clone()
    for row, found in moved.items():
        new = M * rows[row] + (1 - M) * sum(found) / len(found)
        after[row] = new / (new @ new).sqrt()
    return sum(losses[0]) / 4, sum(losses[1]) / 7, after


def test_losses_gradients_and_memory():
    ours, theirs = model(), model()
    # The domains' norms differ, as they do after some steps.
    for each in (ours, theirs):
        for seed, norm in enumerate(each.source_norms):
            norm.weight.data += ref.double(CHANNELS, seed=seed) / 4
    rows = ours.memory.rows.clone()
    data, info = batch()
    found = ours.loss(data, info)
    (found['loss_source'] + found['loss_target']).backward()
    source, target, after = slow_losses(theirs, data, rows)
    (source + target).backward()
    torch.testing.assert_close(found['loss_source'], source)
    torch.testing.assert_close(found['loss_target'], target)
    torch.testing.assert_close(ours.memory.rows, after)
    for (name, own), other in zip(
        ours.named_parameters(), theirs.parameters(), strict=True
    ):
        assert own.grad.abs().max() > 0
        torch.testing.assert_close(own.grad, other.grad, msg=name)


def test_running_statistics_are_of_one_domain():
    ours = model()
    data, info = batch()
    before = [norm.running_mean.clone() for norm in ours.source_norms]
    ours.loss(data, info)
    for norms, images in (
        (ours.source_norms, data['inputs'][:4]),
        (ours._norms.values(), data['inputs'][4:]),
    ):
        first = next(iter(norms))
        mean = ours.backbone.conv(images).mean((0, 2, 3)).detach()
        torch.testing.assert_close(
            first.running_mean, 0.9 * before[0] + 0.1 * mean
        )
        assert int(first.num_batches_tracked) == 1


def test_the_model_tests_by_the_norms_of_the_target():
    ours = model().eval()
    images = batch()[0]['inputs']
    expected = ours(images)
    for norm in ours.source_norms:
        norm.running_mean += 1
    assert torch.equal(ours(images), expected)
    assert not torch.equal(ours.source_feat(images), expected)


def test_start_of_the_memory():
    source, person_id = unit(6, 3, seed=0), torch.tensor([1, 0, 1, 2, 0, 1])
    target = unit(4, 3, seed=1)
    memory = HybridMemory().double()
    memory.start(source, person_id, target)
    for k in range(3):
        mean = source[person_id == k].mean(0)
        torch.testing.assert_close(memory.rows[k], mean / mean.norm())
    torch.testing.assert_close(memory.rows[3:], target)


@pytest.mark.parametrize('momentum', [-0.1, 1.1])
def test_momentum(momentum):
    with pytest.raises(ValueError, match='momentum of HybridMemory must be'):
        HybridMemory(momentum=momentum)

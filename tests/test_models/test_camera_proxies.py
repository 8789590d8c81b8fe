import math

import pytest
import torch
import torch.nn.functional as F

from mmreid.models import (
    CameraProxies,
    ClusterMemory,
    InterCameraLoss,
    IntraCameraLoss,
    ProxyMemory,
)
from mmreid.structures import FeatureSet

# Images of four clusters before three cameras; two outliers.
LABELS = torch.tensor([0, 0, 1, 1, 2, 2, -1, 3, 0, 1, 2, -1, 0])
CAMERAS = torch.tensor([0, 1, 0, 1, 2, 2, 0, 1, 0, 1, 0, 2, 2])
CLUSTER = [0, 0, 0, 1, 1, 2, 2, 3]
CAMERA = [0, 1, 2, 0, 1, 0, 2, 1]


def memory(**options):
    memory = ProxyMemory(**options).double()
    proxies = memory.split(LABELS, CAMERAS)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(len(LABELS), 6, generator=generator)
    memory.start(F.normalize(features.double()), proxies)
    return memory, proxies


def test_clusters_are_split_by_cameras():
    found, proxies = memory()
    assert found.cluster.tolist() == CLUSTER
    assert found.camera.tolist() == CAMERA
    for label, camera, proxy in zip(LABELS, CAMERAS, proxies, strict=True):
        if label < 0:
            assert proxy == -1
        else:
            assert (CLUSTER[proxy], CAMERA[proxy]) == (label, camera)
    assert found.rows.shape == (8, 6)


def slow_losses(logits, proxies, num_negatives):
    """The equations, image by image."""
    intra = inter = 0
    cameras = [CAMERA[p] for p in proxies]
    for row, p in zip(logits, proxies, strict=True):
        of_camera = cameras.count(CAMERA[p])
        scores = [math.e**x for x in row]
        own = [
            s for s, c in zip(scores, CAMERA, strict=True) if c == CAMERA[p]
        ]
        intra = intra - torch.log(scores[p] / sum(own)) / of_camera
        positive = [k for k in range(8) if CLUSTER[k] == CLUSTER[p]]
        others = [scores[k] for k in range(8) if k not in positive]
        hard = sorted(others, reverse=True)[:num_negatives]
        total = sum(scores[k] for k in positive) + sum(hard)
        terms = [torch.log(scores[k] / total) for k in positive]
        inter = inter - sum(terms) / len(positive) / of_camera
    return intra, inter


@pytest.mark.parametrize('num_negatives', [1, 3, 50])
def test_losses_and_gradients(num_negatives):
    found, _ = memory(temperature=0.5)
    proxies = torch.tensor([0, 0, 1, 2, 6, 7, 5])
    generator = torch.Generator().manual_seed(1)
    features = F.normalize(torch.randn(7, 6, generator=generator).double())
    losses = (
        IntraCameraLoss(loss_weight=2.0),
        InterCameraLoss(num_negatives, loss_weight=0.25),
    )
    ours, theirs = (features.clone().requires_grad_() for _ in range(2))
    logits = found(ours)
    intra = losses[0](logits, proxies, found.camera)
    inter = losses[1](logits, proxies, found.camera, found.cluster)
    expected = slow_losses(
        theirs @ found.rows.T / 0.5, proxies.tolist(), num_negatives
    )
    torch.testing.assert_close(intra, 2 * expected[0])
    torch.testing.assert_close(inter, 0.25 * expected[1])
    (intra + inter).backward()
    (2 * expected[0] + 0.25 * expected[1]).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_one_camera_is_cluster_contrast():
    """L_intra is then the loss over the clusters."""
    memory = ProxyMemory(temperature=0.1).double()
    proxies = memory.split(LABELS, torch.zeros_like(LABELS))
    assert torch.equal(proxies, LABELS)
    features = F.normalize(torch.randn(len(LABELS), 6).double())
    memory.start(features, proxies)
    clusters = ClusterMemory(temperature=0.1).double()
    clusters.start(features, LABELS)
    known = LABELS >= 0
    torch.testing.assert_close(
        IntraCameraLoss()(
            memory(features[known]), proxies[known], memory.camera
        ),
        F.cross_entropy(clusters(features[known]), LABELS[known]),
    )


def test_checkpoint_brings_its_proxies():
    found, _ = memory()
    other = ProxyMemory().double()
    other.load_state_dict(found.state_dict())
    for name in ('rows', 'cluster', 'camera'):
        assert torch.equal(getattr(other, name), getattr(found, name))


def test_no_negatives():
    with pytest.raises(ValueError, match='num_negatives .* must be 1 or more'):
        InterCameraLoss(num_negatives=0)


def test_unknown_cameras_are_one():
    model = CameraProxies(
        clusterer=dict(type='KMeans', num_clusters=2),
        backbone=dict(
            type='mmpretrain.ResNet',
            depth=18,
            stem_channels=4,
            base_channels=4,
        ),
    )
    model.clusters.allocate(len(LABELS))
    model.proxies.allocate(len(LABELS))
    model.start_memory(FeatureSet(torch.eye(len(LABELS))), LABELS)
    assert torch.equal(model.proxies.labels, LABELS)

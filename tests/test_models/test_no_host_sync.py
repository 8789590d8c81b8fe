"""A step must not make the host wait for the device.

The ``meta`` device stands for a GPU: its tensors have a shape but no values,
so whatever reads one raises. (With a GPU, ``benchmarks/training.py`` trains
with ``torch.cuda.set_sync_debug_mode('error')``.)
"""

import pytest
import torch
from mmengine.optim import OptimWrapper
from tiny_mar import batch_info

from mmreid.models import (
    MAR,
    TJAIDL,
    Baseline,
    CameraProxies,
    ClusterContrast,
    JointSupervision,
)
from mmreid.structures import FeatureSet

NUM_IDENTITIES, NUM_ATTRIBUTES, NUM_TARGETS = 6, 4, 12
COMMON = dict(
    backbone=dict(
        type='mmpretrain.ResNet', depth=18, stem_channels=4, base_channels=4
    ),
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=(120, 120, 120),
        std=(60, 60, 60),
        domains=dict(source=dict(mean=(90, 90, 90), std=(50, 50, 50))),
        augmentations=[
            dict(type='RandomFlipCrop'),
            dict(type='ColorJitter'),
            dict(type='RandomErasing'),
        ],
    ),
)


def mar(**kwargs):
    head = dict(type='ReferenceAgentHead', num_agents=NUM_IDENTITIES)
    options = dict(head=head, miner=dict(type='SoftMultilabelMiner', ratio=1))
    model = MAR(**COMMON, **(options | kwargs))
    if model.memory:
        model.memory.allocate(NUM_TARGETS, NUM_IDENTITIES)
    model.references.init(torch.zeros(8, NUM_IDENTITIES), torch.arange(8) % 2)
    return model


def tj_aidl(stage, **kwargs):
    model = TJAIDL(
        **COMMON,
        num_identities=NUM_IDENTITIES,
        num_attributes=NUM_ATTRIBUTES,
        **kwargs,
    )
    model.prepare_stage(stage, extract=None)
    return model


def joint_supervision():
    return JointSupervision(
        **COMMON,
        num_identities=NUM_IDENTITIES,
        num_attributes=NUM_ATTRIBUTES,
    )


def cluster_contrast():
    model = ClusterContrast(
        **COMMON, clusterer=dict(type='KMeans', num_clusters=3)
    )
    labels = torch.arange(NUM_TARGETS) % 3
    model.clusters.allocate(NUM_TARGETS)
    model.clusters.assign(labels, 0)
    model.memory.start(torch.ones(NUM_TARGETS, model.feature_length), labels)
    return model


def camera_proxies():
    model = CameraProxies(
        **COMMON,
        clusterer=dict(type='KMeans', num_clusters=3),
        inter_epoch=0,
    )
    model.clusters.allocate(NUM_TARGETS)
    model.proxies.allocate(NUM_TARGETS)
    images = torch.arange(NUM_TARGETS)
    features = torch.ones(NUM_TARGETS, model.feature_length)
    target = FeatureSet(features, camera_id=images % 2)
    model.start_memory(target, images % 3)
    return model


def batch(info):
    num = max(rows.stop for rows in info.domains.values())

    def labels(*shape):
        return torch.zeros(num, *shape, dtype=torch.int64, device='meta')

    return dict(
        inputs=torch.zeros(num, 3, 32, 16, dtype=torch.uint8, device='meta'),
        data_samples=dict(
            domain=labels(),
            sample_idx=labels(),
            person_id=labels(),
            camera_id=labels(),
            attributes=labels(NUM_ATTRIBUTES),
        ),
        info=info,
    )


@pytest.mark.parametrize(
    'build, stage, domains',
    [
        (mar, 'pretrain', ['source']),
        (mar, 'main', ['source', 'target']),
        (
            lambda: mar(
                miner=dict(
                    type='SoftMultilabelMiner', ratio=1, threshold='batch'
                ),
                memory=None,
            ),
            'main',
            ['source', 'target'],
        ),
        (
            lambda: mar(miner=dict(type='FeatureGuidedMiner', ratio=1)),
            'main',
            ['source', 'target'],
        ),
        (lambda: tj_aidl('identity'), 'identity', ['source']),
        (lambda: tj_aidl('attribute'), 'attribute', ['source']),
        (lambda: tj_aidl('joint'), 'joint', ['source']),
        (lambda: tj_aidl('adapt'), 'adapt', ['target']),
        (
            lambda: tj_aidl('adapt', soft_labels='online'),
            'adapt',
            ['target'],
        ),
        (joint_supervision, 'joint', ['source']),
        (lambda: Baseline(NUM_IDENTITIES, **COMMON), 'train', ['source']),
        (cluster_contrast, 'cluster', ['target']),
        (camera_proxies, 'cluster', ['target']),
    ],
)
def test_a_step_reads_no_value(build, stage, domains):
    model = build().to('meta').train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    info = batch_info(stage, **{name: 8 for name in domains})
    # What BaseReID.train_step does, but for the autocast of its forward,
    # which knows no device 'meta'.
    data = model.data_preprocessor(batch(info), True)
    losses = model.loss(
        dict(data['data_samples'], inputs=data['inputs']), data['info']
    )
    total, _ = model.parse_losses(losses)
    OptimWrapper(optimizer).update_params(total)


@pytest.mark.parametrize(
    'read',
    [
        lambda x: x.item(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: bool(x > 0),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.unique(),
    ],
)
def test_a_read_raises(read):
    with pytest.raises((RuntimeError, NotImplementedError)):
        read(torch.zeros(1, device='meta'))

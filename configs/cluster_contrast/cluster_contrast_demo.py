# Cluster Contrast on embedded pedestrians (tools/reproduce.py draws them), on
# the small network of mar_demo.py, from which it starts: the row
# cluster-contrast of configs/mar/table.py.
_base_ = [
    '../_base_/models/cluster_contrast_r50.py',
    '../_base_/loaders/reid_64x32_embedded.py',
    '../_base_/schedules/cluster_50e.py',
    '../_base_/cluster_runtime.py',
]

target = dict(type='Market1501', data_root='work_dirs/demo/embedded_1')

model = dict(
    data_preprocessor=dict(
        augmentations=[
            dict(type='RandomFlipCrop', padding=2),
            dict(type='RandomErasing', prob=0.5),
        ]),
    backbone=dict(
        _delete_=True,
        type='LinearEndResNet',
        depth=18,
        base_channels=32,
        strides=(1, 2, 2, 1)),
    neck=dict(_delete_=True, type='GlobalPooling'),
    bn_neck=None,
    # A person has six images, a third of what a person of Market-1501 has.
    clusterer=dict(eps=0.55, k1=10, k2=3),
    channels_last=True)

train_cfg = dict(
    stages=dict(
        cluster=dict(
            batch_size=dict(target=64),
            sampler=dict(target=dict(num_instances=4)),
            epoch_length=50,
            max_epochs=5,
            param_scheduler=[
                dict(type='CosineAnnealingLR', eta_min=3.5e-6)
            ])))

# Reads the target's labels for the log, never for a loss.
default_hooks = dict(
    logger=dict(interval=25), pseudo_labels=dict(quality=True))

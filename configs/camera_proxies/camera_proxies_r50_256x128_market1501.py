# Camera-aware proxies as published, on Market-1501 without any label.
_base_ = [
    '../_base_/models/camera_proxies_r50.py',
    '../_base_/datasets/market1501_unlabelled.py',
    '../_base_/loaders/reid_256x128.py',
    '../_base_/cluster_runtime.py',
]

optim_wrapper = dict(
    optimizer=dict(type='Adam', lr=3.5e-4, weight_decay=5e-4),
    paramwise_cfg=dict(norm_decay_mult=0))

# P = 8 proxies, K = 4 images of each. An epoch is one pass over the images.
train_cfg = dict(
    type='StagedTrainLoop',
    order=['cluster'],
    stages=dict(
        cluster=dict(
            batch_size=dict(target=32),
            sampler=dict(
                target=dict(type='IdentitySampler', num_instances=4)),
            max_epochs=50,
            val_interval=10,
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.01, end=10),
                dict(type='MultiStepLR', milestones=[20, 40], gamma=0.1),
            ])))

# Reads the target's labels for the log, never for a loss.
default_hooks = dict(pseudo_labels=dict(quality=True))

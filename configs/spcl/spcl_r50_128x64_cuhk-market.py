# SpCL from CUHK01 + CUHK03 to Market-1501 for two CPU cores (use --amp):
# 128x64 images, batches of 32 + 32, a sixth of the images.
_base_ = [
    '../_base_/models/spcl_r50.py',
    '../_base_/datasets/cuhk_market1501.py',
    '../_base_/loaders/reid_128x64_cpu.py',
    '../_base_/schedules/cluster_50e.py',
    '../_base_/cluster_runtime.py',
]

model = dict(
    data_preprocessor=dict(
        augmentations=[
            dict(type='RandomFlipCrop', padding=5),
            dict(type='RandomErasing', prob=0.5),
        ]))

train_cfg = dict(
    stages=dict(
        cluster=dict(
            batch_size=dict(source=32, target=32),
            sampler=dict(
                source=dict(
                    type='IdentitySampler',
                    num_instances=4,
                    across_cameras=True),
                target=dict(num_instances=4, repeat=False)),
            # As many images as the paper's 400 batches: what is not drawn
            # keeps an old vector, which the next clustering takes.
            epoch_length=800,
            max_epochs=8,
            val_interval=2,
            param_scheduler=[
                dict(type='CosineAnnealingLR', eta_min=3.5e-6)
            ])))

# Reads the target's labels for the log, never for a loss.
default_hooks = dict(pseudo_labels=dict(quality=True))

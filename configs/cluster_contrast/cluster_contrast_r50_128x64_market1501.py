# cluster_contrast_r50_256x128_market1501.py for two CPU cores (use --amp):
# 128x64 images, batches of 64, a thirteenth of the images.
_base_ = 'cluster_contrast_r50_256x128_market1501.py'

pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(64, 128)),  # width, height
    dict(type='PackReIDInputs'),
]
train_dataloader = dict(
    num_workers=1, pin_memory=False, dataset=dict(pipeline=pipeline))
val_dataloader = dict(
    num_workers=1, pin_memory=False, dataset=dict(pipeline=pipeline))
test_dataloader = dict(
    num_workers=1, pin_memory=False, dataset=dict(pipeline=pipeline))

model = dict(
    data_preprocessor=dict(
        augmentations=[
            dict(type='RandomFlipCrop', padding=5),
            dict(type='RandomErasing', prob=0.5),
        ]))

train_cfg = dict(
    stages=dict(
        cluster=dict(
            batch_size=dict(target=64),
            sampler=dict(target=dict(num_instances=4)),
            epoch_length=200,
            max_epochs=30,
            val_interval=5,
            param_scheduler=[
                dict(type='CosineAnnealingLR', eta_min=3.5e-6)
            ])))

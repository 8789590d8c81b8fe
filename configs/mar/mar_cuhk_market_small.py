# mar_cuhk_market.py for two CPU cores and less than an hour (use --amp):
# 128x64 images, 64 + 64 per batch, a short pretraining.
_base_ = 'mar_cuhk_market.py'

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

# The published code pads by 7 at 384x128.
model = dict(data_preprocessor=dict(crop_padding=4))

train_cfg = dict(
    stages=dict(
        pretrain=dict(
            max_epochs=5,
            optim_wrapper=dict(
                _delete_=True,
                optimizer=dict(type='Adam', lr=5e-4, weight_decay=5e-4),
                paramwise_cfg=dict(norm_decay_mult=0)),
            param_scheduler=[
                dict(
                    type='OneCycleLR',
                    eta_max=5e-4,
                    total_steps=865,
                    by_epoch=False)
            ]),
        main=dict(
            batch_size=dict(source=64, target=64),
            max_epochs=8,
            val_interval=2,
            param_scheduler=[
                dict(type='MultiStepLR', milestones=[5, 7], gamma=0.1)
            ])))

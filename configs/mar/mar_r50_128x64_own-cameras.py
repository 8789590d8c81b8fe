# mar_r50_384x128_own-cameras.py for two CPU cores and less than an hour (use
# --amp): all but the data is as in mar_r50_128x64_cuhk-market.py.
_base_ = 'mar_r50_384x128_own-cameras.py'

pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(64, 128)),  # width, height
    dict(type='PackReIDInputs'),
]
train_dataloader = dict(
    num_workers=1, pin_memory=False, dataset=dict(pipeline=pipeline))
test_dataloader = dict(
    num_workers=1, pin_memory=False, dataset=dict(pipeline=pipeline))

model = dict(
    data_preprocessor=dict(
        augmentations=[dict(type='RandomFlipCrop', padding=4)]),
    loss_mdl=dict(loss_weight=20),
    miner=dict(ratio=0.001))

default_hooks = dict(pair_mining=dict(start_epoch=0))

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
                    by_epoch=False)
            ]),
        main=dict(
            batch_size=dict(source=32, target=128),
            max_epochs=None,
            max_iters=250,
            epoch_length=None,
            param_scheduler=[
                dict(
                    type='MultiStepLR',
                    by_epoch=False,
                    milestones=[175],
                    gamma=0.1)
            ])))

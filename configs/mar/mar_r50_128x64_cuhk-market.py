# mar_r50_384x128_cuhk-market.py for two CPU cores and less than an hour (use
# --amp): 128x64 images, 32 + 128 per batch, short stages.
_base_ = 'mar_r50_384x128_cuhk-market.py'

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
    # The published code pads by 7 at 384x128.
    data_preprocessor=dict(
        augmentations=[dict(type='RandomFlipCrop', padding=4)]),
    # A fiftieth of the paper's iterations: L_MDL gets the weight that the
    # length lacks, and mines from the first one on.
    loss_mdl=dict(loss_weight=20),
    # Of a batch's 8,128 pairs about 14 show one person, and the features of
    # this pretraining find a third of the nearest 8 right, but a tenth of
    # the nearest 40 that the paper's 0.005 takes (mining_purity.py).
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
        # Relations among target images, which grow with the square of their
        # number, are what the stage learns from.
        main=dict(
            batch_size=dict(source=32, target=128),
            max_epochs=None,
            max_iters=250,
            val_interval=1,
            param_scheduler=[
                dict(
                    type='MultiStepLR',
                    by_epoch=False,
                    milestones=[175],
                    gamma=0.1)
            ])))

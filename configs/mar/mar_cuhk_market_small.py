# mar_cuhk_market.py for two CPU cores and less than an hour (use --amp):
# 128x64 images, 32 + 96 per batch, short stages.
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

model = dict(
    # The published code pads by 7 at 384x128.
    data_preprocessor=dict(crop_padding=4),
    # 694 iterations at the paper's rate, against its 13,740: L_MDL gets the
    # weight that the length lacks.
    mdl_weight=20,
    # Of 4,560 pairs in a batch about 8 show one person (17 images per person
    # of 10,425): the paper's 0.005 would take 22, at best a third of them
    # right.
    miner=dict(ratio=0.0025),
    mdl_start_epoch=0)

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
        # Relations among target images, of which there are N^2, are what the
        # stage learns from: more target than source images per batch.
        main=dict(
            batch_size=dict(source=32, target=96),
            max_epochs=2,
            val_interval=1,
            param_scheduler=[
                dict(
                    type='MultiStepLR',
                    by_epoch=False,
                    milestones=[416, 590],
                    gamma=0.1)
            ])))

# MAR on a network that knows persons: OSNet x0.25 from weights of MSMT17 in
# torchreid's layout, below data/weights or the folder named by MMREID_WEIGHTS.
# CUHK01 + CUHK03 to Market-1501 for two CPU cores without bfloat16, so 192x96
# images rather than the 256x128 of those weights.
_base_ = 'mar_r50_128x64_cuhk-market.py'

pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(96, 192)),  # width, height
    dict(type='PackReIDInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

model = dict(
    channels_last=True,
    data_preprocessor=dict(
        # ImageNet's, RGB, as the weights were trained.
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        bgr_to_rgb=True,
        augmentations=[dict(type='RandomFlipCrop', padding=5)]),
    # At ResNet-50's s of 30 the agreement hardly tells pairs of one person
    # from others (mining_purity.py).
    head=dict(scale=10),
    loss_mdl=dict(loss_weight=10),
    backbone=dict(
        _delete_=True,
        type='LinearEndOSNet',
        width=0.25,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$MMREID_WEIGHTS:data/weights}}'
            '/osnet_x0_25_msmt17_1041ids.pth')))

train_cfg = dict(
    stages=dict(
        pretrain=dict(
            max_epochs=2,
            # The agents are new, the network is not.
            optim_wrapper=dict(
                optimizer=dict(type='Adam', lr=1e-4, weight_decay=5e-4),
                paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=50)})),
            param_scheduler=[
                dict(
                    type='CosineAnnealingLR',
                    T_max=346,
                    eta_min=0,
                    by_epoch=False)
            ]),
        # At ResNet-50's 2e-4 the source accuracy falls from 99 to 52 % in 50
        # iterations.
        main=dict(optim_wrapper=dict(optimizer=dict(lr=5e-5)))))

# TJ-AIDL on a network that knows persons: OSNet x0.25 from weights of MSMT17
# in torchreid's layout, below data/weights or the folder named by
# MMREID_WEIGHTS. Both branches start from it. Four epochs of Market-1501 for
# each stage of the source, for two CPU cores (use --amp).
_base_ = 'tj_aidl_mobilenet_128x64_market-viper.py'

pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(96, 192)),  # width, height
    dict(type='PackReIDInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

model = dict(
    channels_last=True,
    data_preprocessor=dict(
        # ImageNet's, as the weights were trained.
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        augmentations=[dict(type='RandomFlipCrop', padding=5)]),
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
        identity=dict(
            max_iters=1616,
            param_scheduler=[
                dict(
                    type='OneCycleLR',
                    eta_max=3e-4,
                    by_epoch=False)
            ]),
        joint=dict(
            max_iters=1616,
            param_scheduler=[
                dict(
                    type='OneCycleLR',
                    eta_max=3e-4,
                    by_epoch=False)
            ])))

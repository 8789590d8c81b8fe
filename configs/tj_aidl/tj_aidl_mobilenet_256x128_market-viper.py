# tj_aidl_mobilenet_128x64_market-viper.py at 256x128 and half its length.
_base_ = 'tj_aidl_mobilenet_128x64_market-viper.py'

pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(128, 256)),  # width, height
    dict(type='PackReIDInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

model = dict(
    data_preprocessor=dict(
        augmentations=[dict(type='RandomFlipCrop', padding=8)]))

train_cfg = dict(
    stages=dict(
        identity=dict(
            max_iters=2424,  # 6 epochs
            param_scheduler=[
                dict(
                    type='OneCycleLR',
                    eta_max=1e-3,
                    by_epoch=False)
            ]),
        joint=dict(
            max_iters=1010,  # 2.5 epochs
            param_scheduler=[
                dict(
                    type='OneCycleLR',
                    eta_max=1e-3,
                    by_epoch=False)
            ]),
        adapt=dict(max_iters=60)))  # 3 epochs of 632 images

# tj_aidl_market_viper.py for two CPU cores (use --amp): 128x64 images,
# batches of 32, a fifth of the paper's images (0.16 of 0.8 million for the
# identity branch, 78,000 of 160,000 jointly, 6,400 of 160,000 of the target),
# Adam at half the rate, one-cycle, with weight decay, and at a tenth for the
# adaptation.
_base_ = 'tj_aidl_market_viper.py'

pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(64, 128)),  # width, height
    dict(type='PackReIDInputs'),
]
train_dataloader = dict(
    num_workers=1, pin_memory=False, dataset=dict(pipeline=pipeline))
test_dataloader = dict(
    num_workers=0, pin_memory=False, dataset=dict(pipeline=pipeline))

model = dict(
    data_preprocessor=dict(
        augmentations=[dict(type='RandomFlipCrop', padding=4)]))

optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=5e-4),
    paramwise_cfg=dict(norm_decay_mult=0))

train_cfg = dict(
    stages=dict(
        identity=dict(
            batch_size=dict(source=32),
            max_iters=4848,  # 12 epochs
            param_scheduler=[
                dict(
                    type='OneCycleLR',
                    eta_max=1e-3,
                    by_epoch=False)
            ]),
        joint=dict(
            batch_size=dict(source=32),
            max_iters=2424,  # 6 epochs
            param_scheduler=[
                dict(
                    type='OneCycleLR',
                    eta_max=1e-3,
                    by_epoch=False)
            ]),
        adapt=dict(
            batch_size=dict(target=32),
            max_iters=200,  # 10 epochs of 632 images
            optim_wrapper=dict(
                optimizer=dict(type='Adam', lr=2e-4, betas=(0.5, 0.999))))))

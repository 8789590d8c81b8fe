# SpCL from a network that knows persons: OSNet x0.25 from weights of MSMT17 in
# torchreid's layout, below data/weights or the folder named by MMREID_WEIGHTS.
# The labelled source is CUHK01 + CUHK03. For two CPU cores.
_base_ = 'spcl_r50_128x64_cuhk-market.py'

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
        augmentations=[
            dict(type='RandomFlipCrop', padding=7),
            dict(type='RandomErasing', prob=0.5),
        ]),
    backbone=dict(
        _delete_=True,
        type='LinearEndOSNet',
        width=0.25,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$MMREID_WEIGHTS:data/weights}}'
            '/osnet_x0_25_msmt17_1041ids.pth')),
    neck=dict(_delete_=True, type='GlobalPooling'),  # it pools by itself
    bn_neck=None,
    # At the paper's 0.6 this network's clusters merge: tools/analysis_tools/
    # cluster_eps.py, which reads no label, names 0.5.
    clusterer=dict(eps=0.5))

train_cfg = dict(stages=dict(cluster=dict(max_epochs=6, val_interval=2)))

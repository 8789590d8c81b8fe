# TJ-AIDL on embedded pedestrians (tools/reproduce.py draws them): small
# networks, from scratch, that two CPU cores train in minutes.
_base_ = [
    '../_base_/models/tj_aidl_mobilenet_v1.py',
    '../_base_/loaders/reid_64x32_embedded.py',
    '../_base_/schedules/tj_aidl_140k.py',
    '../_base_/tj_aidl_runtime.py',
]

data_root = 'work_dirs/demo_tj_aidl/embedded_1'
source_root = data_root + '/DukeMTMC-reID'
source = dict(
    type='DukeMTMCreID',
    data_root=source_root,
    attribute_file=source_root + '/duke_attribute.mat')
target = dict(type='Market1501', data_root=data_root)

test_evaluator = dict(metric='euclidean')

model = dict(
    data_preprocessor=dict(
        augmentations=[dict(type='RandomFlipCrop', padding=2)]),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ResNet',
        depth=18,
        base_channels=32,
        strides=(1, 2, 2, 1)),
    num_identities=600,
    num_attributes=23)

optim_wrapper = dict(
    optimizer=dict(lr=2e-3, weight_decay=5e-4),
    paramwise_cfg=dict(norm_decay_mult=0))
train_cfg = dict(
    stages=dict(
        identity=dict(
            batch_size=dict(source=64),
            max_iters=750,
            param_scheduler=[
                dict(
                    type='OneCycleLR',
                    eta_max=2e-3,
                    by_epoch=False)
            ]),
        joint=dict(
            batch_size=dict(source=64),
            max_iters=750,
            param_scheduler=[
                dict(
                    type='OneCycleLR',
                    eta_max=2e-3,
                    by_epoch=False)
            ]),
        adapt=dict(
            batch_size=dict(target=64),
            max_iters=200,
            optim_wrapper=dict(
                optimizer=dict(type='Adam', lr=2e-4, betas=(0.5, 0.999))))))

default_hooks = dict(logger=dict(interval=100))

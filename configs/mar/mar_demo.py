# MAR on embedded pedestrians (tools/reproduce.py draws them): a small network
# that two CPU cores train in minutes.
_base_ = [
    '../_base_/models/mar_r50.py',
    '../_base_/loaders/reid_64x32_embedded.py',
    '../_base_/schedules/mar_20e.py',
    '../_base_/mar_runtime.py',
]

data_root = 'work_dirs/demo/embedded_1'
source = dict(type='MSMT17', data_root=data_root)
target = dict(type='Market1501', data_root=data_root)

model = dict(
    channels_last=True,
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        augmentations=[dict(type='RandomFlipCrop', padding=2)]),
    backbone=dict(
        depth=18, base_channels=32, strides=(1, 2, 2, 1), init_cfg=None),
    # The paper's text for s; the published code's 30 is meant for 4,101 agents.
    head=dict(num_agents=600, scale='auto'),
    # A fiftieth of the paper's iterations: L_MDL gets the weight that the
    # length lacks, and mines from the first one on.
    loss_mdl=dict(loss_weight=100))

train_cfg = dict(
    stages=dict(
        pretrain=dict(
            max_epochs=10,
            optim_wrapper=dict(optimizer=dict(
                lr=0.05, weight_decay=5e-4, fused=True)),
            param_scheduler=[
                dict(type='CosineAnnealingLR', eta_min=1e-4)
            ]),
        main=dict(
            # The mining's pairs grow with the square of the target's part.
            batch_size=dict(source=64, target=192),
            max_epochs=None,
            max_iters=250,
            optim_wrapper=dict(optimizer=dict(lr=4e-4, fused=True)),
            param_scheduler=[
                dict(
                    type='MultiStepLR',
                    by_epoch=False,
                    milestones=[175],
                    gamma=0.1)
            ])))

default_hooks = dict(
    # The purity reads the target's labels for the log, never for a loss.
    pair_mining=dict(start_epoch=0, purity=True),
    logger=dict(interval=40))

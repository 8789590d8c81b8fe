# MAR from a checkpoint alone: an OSNet x0.25 of MSMT17 in torchreid's layout,
# below data/weights or the folder named by MMREID_WEIGHTS, whose classifier's
# 1,041 rows are the agents. Market-1501 without labels; no image of MSMT17.
# For two CPU cores.
_base_ = [
    '../_base_/datasets/market1501_unlabelled.py',
    '../_base_/loaders/reid_192x96_cpu.py',
    '../_base_/mar_runtime.py',
]

weights = '{{$MMREID_WEIGHTS:data/weights}}/osnet_x0_25_msmt17_1041ids.pth'

model = dict(
    type='SourceFreeMAR',
    channels_last=True,
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        # ImageNet's, RGB, as the weights were trained.
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        augmentations=[dict(type='RandomFlipCrop', padding=5)]),
    backbone=dict(
        type='LinearEndOSNet',
        width=0.25,
        init_cfg=dict(type='Pretrained', checkpoint=weights)),
    head=dict(
        type='ReferenceAgentHead',
        num_agents=1041,
        # At 30, the published code's, these agents' soft multilabels say nothing
        # of who is who (docs/methods/mar.md).
        scale=10,  # s
        init_cfg=dict(
            type='Pretrained', checkpoint=weights, prefix='classifier')),
    miner=dict(
        type='SoftMultilabelMiner',
        ratio=0.001,  # p
        threshold='ema'),
    memory=dict(type='SoftMultilabelMemory', momentum=0.9),
    loss_cml=dict(type='CMLLoss', loss_weight=2e-4),  # lambda_1
    loss_mdl=dict(type='MDLLoss', loss_weight=1))

# Reads the target's labels for the log, never for a loss.
default_hooks = dict(pair_mining=dict(start_epoch=0, purity=True))

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=1e-4, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(norm_decay_mult=0))

train_cfg = dict(
    type='StagedTrainLoop',
    order=['main'],
    stages=dict(
        main=dict(
            batch_size=dict(target=128),
            max_iters=250,
            val_interval=1,
            param_scheduler=[
                dict(
                    type='MultiStepLR',
                    by_epoch=False,
                    milestones=[175],
                    gamma=0.1)
            ])))

# MAR's network: ResNet-50 whose last block has no final ReLU, global average
# pooling, the agents as a bias-free classifier.
model = dict(
    type='MAR',
    backbone=dict(
        type='LinearEndResNet',
        depth=50,
        # torchvision's style and weights: the stride is on the 3x3
        # convolution. Weights of Caffe's style need style='caffe' and their
        # own mean and std in the data preprocessor.
        style='pytorch',
        init_cfg=dict(
            type='Pretrained', checkpoint='torchvision://resnet50')),
    head=dict(
        type='ReferenceAgentHead',
        num_agents=4101,
        scale=30),  # s
    miner=dict(
        type='SoftMultilabelMiner',
        ratio=0.005,  # p
        threshold='ema'),
    memory=dict(type='SoftMultilabelMemory', momentum=0.9),
    loss_al=dict(type='CrossEntropyLoss', loss_weight=50),  # lambda_2
    loss_rj=dict(
        type='RJLoss',
        margin=1.0,  # m
        loss_weight=10),  # lambda_2 beta = 50 * 0.2
    loss_cml=dict(type='CMLLoss', loss_weight=2e-4),  # lambda_1
    loss_mdl=dict(type='MDLLoss', loss_weight=1))

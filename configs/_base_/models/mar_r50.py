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
        in_channels=2048,
        scale=30),
    miner=dict(
        type='SoftMultilabelMiner',
        ratio=0.005,  # p
        threshold='ema'),
    memory=dict(type='SoftMultilabelMemory', momentum=0.9),
    lambda1=2e-4,  # of L_CML
    lambda2=50,  # of L_RAL
    beta=0.2,  # of L_RJ in L_RAL
    margin=1.0,  # m
    mdl_start_epoch=1)

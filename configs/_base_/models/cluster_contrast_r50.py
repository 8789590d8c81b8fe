# Cluster Contrast: ResNet-50 whose last stage keeps its resolution, GeM,
# BNNeck, a memory of one vector per cluster.
model = dict(
    type='ClusterContrast',
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        # ImageNet's, RGB, as torchvision's weights were trained.
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        augmentations=[
            dict(type='RandomFlipCrop', padding=10),
            dict(type='RandomErasing', prob=0.5),
        ]),
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=50,
        strides=(1, 2, 2, 1),
        init_cfg=dict(
            type='Pretrained', checkpoint='torchvision://resnet50')),
    neck=dict(type='GeM'),
    bn_neck=dict(type='BNNeck'),
    clusterer=dict(type='JaccardDBSCAN', eps=0.4, min_samples=4, k1=30, k2=6),
    memory=dict(type='ClusterMemory', temperature=0.05, momentum=0.1))  # tau, m

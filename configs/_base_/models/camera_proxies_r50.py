# Camera-aware proxies: ResNet-50 whose last stage keeps its resolution,
# average pooling, BNNeck, a memory of one vector per cluster and camera.
model = dict(
    type='CameraProxies',
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
    neck=dict(type='GlobalPooling'),
    bn_neck=dict(type='BNNeck'),
    clusterer=dict(type='JaccardDBSCAN', eps=0.5, min_samples=4, k1=20, k2=6),
    memory=dict(type='ProxyMemory', temperature=0.07, momentum=0.2),  # tau
    loss_intra=dict(type='IntraCameraLoss'),
    loss_inter=dict(
        type='InterCameraLoss', num_negatives=50, loss_weight=0.5),  # lambda
    inter_epoch=5)

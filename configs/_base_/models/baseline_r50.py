# Bag of tricks: ResNet-50 whose last stage keeps its resolution, global
# average pooling, BNNeck, label smoothing, batch-hard triplets.
model = dict(
    type='Baseline',
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
    num_identities=751,
    loss_id=dict(type='CrossEntropyLoss', label_smoothing=0.1),  # epsilon
    loss_triplet=dict(type='BatchHardTripletLoss', margin=0.3))

# What methods on a ResNet-50 of ImageNet share: its last stage keeps its
# resolution; flips, crops and erased rectangles.
model = dict(
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
            type='Pretrained', checkpoint='torchvision://resnet50')))

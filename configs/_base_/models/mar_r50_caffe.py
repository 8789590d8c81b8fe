# ImageNet weights in Caffe's style, and the normalisation they were trained
# with.
_base_ = 'mar_r50.py'

model = dict(
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=(103.939, 116.779, 123.68),
        std=(1, 1, 1),
        bgr_to_rgb=False),
    backbone=dict(
        style='caffe',
        init_cfg=dict(
            checkpoint='{{$MMREID_WEIGHTS:data/weights}}'
            '/resnet50_imagenet_caffe_bgr.pth')))

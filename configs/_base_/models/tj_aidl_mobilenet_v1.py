# Two MobileNets of width 1 (pooled feature of 1,024 channels), one per branch.
# The weights are those of TensorFlow's MobileNet, converted by
# tools/model_converters/mobilenet_v1_to_mmreid.py, below data/weights, or
# below the folder named by MMREID_WEIGHTS.
weights = '{{$MMREID_WEIGHTS:data/weights}}/mobilenet_v1.pth'

model = dict(
    type='TJAIDL',
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        # As MobileNet was pretrained: to [-1, 1].
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        bgr_to_rgb=True),
    backbone=dict(
        type='MobileNetV1',
        padding='same',
        init_cfg=dict(type='Pretrained', checkpoint=weights)),
    num_identities=751,
    num_attributes=27,  # m
    in_channels=1024,
    head=dict(type='IIAHead', hidden_channels=(512, 128)),
    lambda1=10,  # of L_rec
    lambda2=10,  # of L_ID-transfer
    reduction='mean',
    soft_labels='source')

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
    head=dict(type='IIAHead', hidden_channels=(512, 128)),
    # Eq. 3 and 4 are printed as squared norms ('sum') and called mean square
    # errors ('mean').
    loss_rec=dict(
        type='SquaredDistanceLoss', reduction='mean',
        loss_weight=10),  # lambda_1
    loss_id_transfer=dict(
        type='SquaredDistanceLoss', reduction='mean',
        loss_weight=10),  # lambda_2
    soft_labels='source')

# Bag of tricks: global average pooling, BNNeck, label smoothing, batch-hard
# triplets.
_base_ = 'reid_r50.py'

model = dict(
    type='Baseline',
    neck=dict(type='GlobalPooling'),
    bn_neck=dict(type='BNNeck'),
    num_identities=751,
    loss_id=dict(type='CrossEntropyLoss', label_smoothing=0.1),  # epsilon
    loss_triplet=dict(type='BatchHardTripletLoss', margin=0.3))

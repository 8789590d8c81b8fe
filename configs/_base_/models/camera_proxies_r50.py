# Camera-aware proxies: average pooling, BNNeck, a memory of one vector per
# cluster and camera.
_base_ = 'reid_r50.py'

model = dict(
    type='CameraProxies',
    neck=dict(type='GlobalPooling'),
    bn_neck=dict(type='BNNeck'),
    clusterer=dict(type='JaccardDBSCAN', eps=0.5, min_samples=4, k1=20, k2=6),
    memory=dict(type='ProxyMemory', temperature=0.07, momentum=0.2),  # tau
    loss_intra=dict(type='IntraCameraLoss'),
    loss_inter=dict(
        type='InterCameraLoss', num_negatives=50, loss_weight=0.5),  # lambda
    inter_epoch=5)

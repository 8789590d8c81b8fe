# SpCL: average pooling, BNNeck, a memory of source classes and target images.
_base_ = 'reid_r50.py'

model = dict(
    type='SpCL',
    neck=dict(type='GlobalPooling'),
    bn_neck=dict(type='BNNeck'),
    clusterer=dict(
        type='SelfPacedDBSCAN', eps=0.6, gap=0.02, min_samples=4, k1=30, k2=6),
    # tau, m
    memory=dict(type='HybridMemory', temperature=0.05, momentum=0.2))

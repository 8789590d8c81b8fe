# Cluster Contrast: GeM, BNNeck, a memory of one vector per cluster.
_base_ = 'reid_r50.py'

model = dict(
    type='ClusterContrast',
    neck=dict(type='GeM'),
    bn_neck=dict(type='BNNeck'),
    clusterer=dict(type='JaccardDBSCAN', eps=0.4, min_samples=4, k1=30, k2=6),
    # tau, m
    memory=dict(type='ClusterMemory', temperature=0.05, momentum=0.1))

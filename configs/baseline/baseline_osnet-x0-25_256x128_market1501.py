# OSNet x0.25 as torchreid trains it, from weights in torchreid's layout, here
# of MSMT17, below data/weights or the folder named by MMREID_WEIGHTS: its 512-D
# feature and the classifier, without BNNeck and triplets. To use the weights
# as they are, give 'none' as the checkpoint to tools/extract.py or tools/test.py.
_base_ = 'baseline_r50_256x128_market1501.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='OSNet',
        width=0.25,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$MMREID_WEIGHTS:data/weights}}'
            '/osnet_x0_25_msmt17_1041ids.pth')),
    bn_neck=None,
    loss_triplet=None)

train_cfg = dict(
    stages=dict(
        train=dict(sampler=dict(source=dict(
            _delete_=True, type='ShuffleSampler')))))

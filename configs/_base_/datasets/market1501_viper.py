# Market-1501 with identities and attributes as the source, VIPeR without
# labels as the target, at the resolution that MobileNet was pretrained at.
# Data sets lie below data/, or below the folder named by MMREID_DATA
# (docs/datasets.md says what each must look like). Of VIPeR, train and test
# part are those of a random split: tools/run_splits.py names it. Without one
# the target's training images would be those of the test.
data_root = '{{$MMREID_DATA:data}}'

pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(224, 224)),  # width, height
    dict(type='PackReIDInputs'),
]
target = dict(type='VIPeR', data_root=data_root + '/viper')

train_dataloader = dict(
    num_workers=4,
    pin_memory=True,
    dataset=dict(
        type='DomainDataset',
        source=dict(
            type='Market1501',
            data_root=data_root + '/market1501',
            attribute_file=data_root + '/attributes/market_attribute.mat'),
        pipeline=pipeline))
test_dataloader = dict(
    batch_size=128,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(pipeline=pipeline))
test_evaluator = dict(type='ReIDMetric', metric='euclidean', ap='standard')
test_cfg = dict()

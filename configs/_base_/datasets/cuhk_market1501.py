# CUHK01 and CUHK03 (labelled boxes; 1,714 identities) as the auxiliary set,
# Market-1501 without labels as the target. 151 of its 751 training identities
# are kept apart for validation: the only ones whose labels are read.
# Data sets lie below data/, or below the folder named by MMREID_DATA
# (docs/datasets.md says what each must look like).
data_root = '{{$MMREID_DATA:data}}'

pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(128, 384)),  # width, height
    dict(type='PackReIDInputs'),
]
target = dict(
    type='Market1501',
    data_root=data_root + '/market1501',
    val_identities=151,
    val_seed=0)

train_dataloader = dict(
    num_workers=4,
    pin_memory=True,
    dataset=dict(
        type='DomainDataset',
        source=[
            dict(type='CUHK01', data_root=data_root + '/cuhk01'),
            dict(type='ReIDManifest', ann_file=data_root + '/cuhk03/labeled.csv')
        ],
        pipeline=pipeline))
val_dataloader = dict(
    batch_size=128,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(pipeline=pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='ReIDMetric', metric='cosine', ap='standard')
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()

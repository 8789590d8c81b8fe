# Market-1501 with identities, trained and tested on. Data sets lie below
# data/, or below the folder named by MMREID_DATA (docs/datasets.md says what
# each must look like).
data_root = '{{$MMREID_DATA:data}}'

pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(128, 256)),  # width, height
    dict(type='PackReIDInputs'),
]
source = dict(type='Market1501', data_root=data_root + '/market1501')

train_dataloader = dict(
    num_workers=4,
    pin_memory=True,
    dataset=dict(type='DomainDataset', pipeline=pipeline))
test_dataloader = dict(
    batch_size=128,
    num_workers=4,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(source, split='test', pipeline=pipeline))
test_evaluator = dict(type='ReIDMetric', metric='cosine', ap='standard')
test_cfg = dict()

# The embedded pedestrians (tools/reproduce.py draws them) and how they are
# ranked, for two CPU cores. They have no validation identities.
pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(32, 64)),  # width, height
    dict(type='PackReIDInputs'),
]
train_dataloader = dict(
    num_workers=1,
    dataset=dict(type='DomainDataset', pipeline=pipeline))
test_dataloader = dict(
    batch_size=256,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(pipeline=pipeline))
test_evaluator = dict(type='ReIDMetric', metric='cosine', ap='standard')
test_cfg = dict()

# MAR's image size and ranking, for any source and target. A target without
# val_identities has no validation.
pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(128, 384)),  # width, height
    dict(type='PackReIDInputs'),
]

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
    dataset=dict(pipeline=pipeline))
val_dataloader = test_dataloader
test_evaluator = dict(type='ReIDMetric', metric='cosine', ap='standard')
val_evaluator = test_evaluator
test_cfg = dict()
val_cfg = dict()

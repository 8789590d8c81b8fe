# The image size that MobileNet was pretrained at, and TJ-AIDL's ranking, for
# any source with attributes and any target.
pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(224, 224)),  # width, height
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
test_evaluator = dict(type='ReIDMetric', metric='euclidean', ap='standard')
test_cfg = dict()

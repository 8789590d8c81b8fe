# The usual image size and ranking, for any source and target.
_base_ = 'mar_384x128.py'

pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(128, 256)),  # width, height
    dict(type='PackReIDInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

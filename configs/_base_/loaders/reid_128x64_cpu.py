# Small images and one worker, for two CPU cores.
_base_ = 'reid_256x128.py'

pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(64, 128)),  # width, height
    dict(type='PackReIDInputs'),
]
train_dataloader = dict(
    num_workers=1, pin_memory=False, dataset=dict(pipeline=pipeline))
val_dataloader = dict(
    num_workers=1, pin_memory=False, dataset=dict(pipeline=pipeline))
test_dataloader = dict(
    num_workers=1, pin_memory=False, dataset=dict(pipeline=pipeline))

# As large as OSNet needs them, and one worker, for two CPU cores.
_base_ = 'reid_128x64_cpu.py'

pipeline = [
    dict(type='LoadReIDImage'),
    dict(type='mmcv.Resize', scale=(96, 192)),  # width, height
    dict(type='PackReIDInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

_base_ = 'default_runtime.py'

default_hooks = dict(
    logger=dict(interval=200),
    # Epochs are short next to the stages.
    checkpoint=dict(by_epoch=False, interval=2000))

# What a stage does not train it does not run either.
model_wrapper_cfg = dict(find_unused_parameters=True)

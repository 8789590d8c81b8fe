_base_ = 'default_runtime.py'

# In the published code the first epoch of the main stage mines no pairs.
default_hooks = dict(pair_mining=dict(type='PairMiningHook', start_epoch=1))

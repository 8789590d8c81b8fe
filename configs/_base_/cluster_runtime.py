_base_ = 'default_runtime.py'

# Every epoch the target is clustered anew.
default_hooks = dict(pseudo_labels=dict(type='PseudoLabelHook', interval=1))

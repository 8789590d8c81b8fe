_base_ = 'default_runtime.py'

default_hooks = dict(mar=dict(type='MARHook'))

# The plain supervised method on Market-1501.
_base_ = [
    '../_base_/models/baseline_r50.py',
    '../_base_/datasets/market1501.py',
    '../_base_/schedules/baseline_120e.py',
    '../_base_/default_runtime.py',
]

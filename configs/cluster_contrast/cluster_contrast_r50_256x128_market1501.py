# Cluster Contrast as published, on Market-1501 without any label.
_base_ = [
    '../_base_/models/cluster_contrast_r50.py',
    '../_base_/datasets/market1501_unlabelled.py',
    '../_base_/loaders/reid_256x128.py',
    '../_base_/schedules/cluster_50e.py',
    '../_base_/cluster_runtime.py',
]

# Reads the target's labels for the log, never for a loss.
default_hooks = dict(pseudo_labels=dict(quality=True))

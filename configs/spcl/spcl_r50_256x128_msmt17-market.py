# SpCL as published: MSMT17 with its labels, Market-1501 without any.
_base_ = [
    '../_base_/models/spcl_r50.py',
    '../_base_/datasets/msmt17_market1501.py',
    '../_base_/loaders/reid_256x128.py',
    '../_base_/schedules/cluster_50e.py',
    '../_base_/cluster_runtime.py',
]

# Those of MSMT17's training part.
source = dict(combine_all=False)

# P = 16 persons, K = 4 images of each, of either domain. An outlier is one
# image: such a batch has more of them.
train_cfg = dict(
    stages=dict(
        cluster=dict(
            batch_size=dict(source=64, target=64),
            sampler=dict(
                source=dict(
                    type='IdentitySampler',
                    num_instances=4,
                    across_cameras=True),
                target=dict(num_instances=4, repeat=False)))))

# Reads the target's labels for the log, never for a loss.
default_hooks = dict(pseudo_labels=dict(quality=True))

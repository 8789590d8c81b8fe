# MAR on data that is still easy to come by, in the paper's resolution, batch
# and number of main-stage iterations.
_base_ = [
    '../_base_/models/mar_r50_caffe.py',
    '../_base_/datasets/cuhk_market1501.py',
    '../_base_/loaders/mar_384x128.py',
    '../_base_/schedules/mar_20e.py',
    '../_base_/mar_runtime.py',
]

model = dict(head=dict(num_agents=1714))

# Reads the target's labels for the log, never for a loss.
default_hooks = dict(pair_mining=dict(purity=True))

# An epoch has 60 iterations rather than MSMT17's 687: as many iterations as
# the paper's 20 epochs, the rate falling at the same parts of them.
train_cfg = dict(
    stages=dict(
        main=dict(
            max_epochs=229,
            val_interval=20,
            param_scheduler=[
                dict(type='MultiStepLR', milestones=[137, 195], gamma=0.1)
            ])))

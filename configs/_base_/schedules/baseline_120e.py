# Adam, the rate rising over the first 10 epochs and falling by 10 after 40
# and 70; P = 16 identities, K = 4 images of each.
optim_wrapper = dict(
    optimizer=dict(type='Adam', lr=3.5e-4, weight_decay=5e-4),
    paramwise_cfg=dict(norm_decay_mult=0))

train_cfg = dict(
    type='StagedTrainLoop',
    order=['train'],
    stages=dict(
        train=dict(
            batch_size=dict(source=64),
            sampler=dict(
                source=dict(type='IdentitySampler', num_instances=4)),
            max_epochs=120,
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, end=10),
                dict(type='MultiStepLR', milestones=[40, 70], gamma=0.1),
            ])))

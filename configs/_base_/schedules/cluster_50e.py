# Adam, the rate falling by 10 every 20 epochs; P = 16 clusters, K = 16 images
# of each, 400 batches between two clusterings.
optim_wrapper = dict(
    optimizer=dict(type='Adam', lr=3.5e-4, weight_decay=5e-4),
    paramwise_cfg=dict(
        norm_decay_mult=0, custom_keys={'neck.p': dict(decay_mult=0)}))

train_cfg = dict(
    type='StagedTrainLoop',
    order=['cluster'],
    stages=dict(
        cluster=dict(
            batch_size=dict(target=256),
            sampler=dict(
                target=dict(
                    type='IdentitySampler',
                    num_instances=16,
                    across_cameras=True)),
            epoch_length=400,
            max_epochs=50,
            val_interval=10,
            param_scheduler=[
                dict(type='StepLR', step_size=20, gamma=0.1)
            ])))

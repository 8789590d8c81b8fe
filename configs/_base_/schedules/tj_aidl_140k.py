# "20,000 iterations for both" joint learning and adaptation is read as each.
optim_wrapper = dict(
    optimizer=dict(type='Adam', lr=0.002, betas=(0.5, 0.999)))

train_cfg = dict(
    type='StagedTrainLoop',
    order=['identity', 'joint', 'adapt'],
    stages=dict(
        identity=dict(batch_size=dict(source=8), max_iters=100_000),
        joint=dict(batch_size=dict(source=8), max_iters=20_000),
        adapt=dict(batch_size=dict(target=8), max_iters=20_000)))

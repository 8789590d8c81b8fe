# The main stage is that of the paper and its published code. Of the
# pretraining the code was not published: its author recalls 40 epochs, rate
# 1e-2, weight decay 1e-2, batch 64.
pretrain_optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=1e-2, momentum=0.9, weight_decay=1e-2),
    paramwise_cfg=dict(norm_decay_mult=0))
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=2e-4, momentum=0.9, weight_decay=2.5e-2),
    # Weight decay on everything but batch norm, the agents included.
    paramwise_cfg=dict(norm_decay_mult=0))

train_cfg = dict(
    type='StagedTrainLoop',
    order=['pretrain', 'main'],
    stages=dict(
        pretrain=dict(
            batch_size=dict(source=64),
            max_epochs=40,
            optim_wrapper=pretrain_optim_wrapper,
            param_scheduler=[
                dict(type='MultiStepLR', milestones=[25, 35], gamma=0.1)
            ]),
        main=dict(
            batch_size=dict(source=184, target=184),
            max_epochs=20,
            optim_wrapper=optim_wrapper,
            param_scheduler=[
                dict(type='MultiStepLR', milestones=[12, 17], gamma=0.1)
            ])))

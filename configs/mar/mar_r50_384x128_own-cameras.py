# MAR for your own cameras (docs/own_cameras.md), in the paper's resolution,
# batch and number of iterations. The auxiliary set is Market-1501; rows of
# table.py take another one, and any labelled data set does.
_base_ = [
    '../_base_/models/mar_r50.py',
    '../_base_/datasets/own_cameras.py',
    '../_base_/loaders/mar_384x128.py',
    '../_base_/schedules/mar_20e.py',
    '../_base_/mar_runtime.py',
]

source = dict(
    type='Market1501', data_root='{{$MMREID_DATA:data}}/market1501')

model = dict(
    # ImageNet's, for any source and any cameras.
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375)),
    head=dict(num_agents=751))  # persons of the source

# As many iterations as the paper's 20 epochs, whatever the source.
train_cfg = dict(stages=dict(main=dict(epoch_length=687)))

# Table 2, Independent Supervision: both branches, each on its own.
_base_ = 'tj_aidl_market_duke.py'
model = dict(retrieval_feature='concatenated')
train_cfg = dict(
    order=['identity', 'attribute'],
    stages=dict(attribute=dict(batch_size=dict(source=8), max_iters=100_000)))

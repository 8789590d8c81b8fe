# Table 3, Attribute Only.
_base_ = 'tj_aidl_market_duke.py'
train_cfg = dict(
    order=['attribute'],
    stages=dict(attribute=dict(batch_size=dict(source=8), max_iters=100_000)))

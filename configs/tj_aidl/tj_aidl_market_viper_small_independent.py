# Table 2, Independent Supervision: both branches, each on its own.
_base_ = 'tj_aidl_market_viper_small.py'
model = dict(retrieval_feature='concatenated')
train_cfg = dict(
    order=['identity', 'attribute'],
    stages=dict(attribute={{_base_.train_cfg.stages.identity}}))

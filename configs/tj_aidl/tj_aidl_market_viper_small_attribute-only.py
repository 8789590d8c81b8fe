# Table 3, Attribute Only.
_base_ = 'tj_aidl_market_viper_small.py'
train_cfg = dict(
    order=['attribute'],
    stages=dict(attribute={{_base_.train_cfg.stages.identity}}))

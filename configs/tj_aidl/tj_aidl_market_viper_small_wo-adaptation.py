# Table 4, w/o Adaptation.
_base_ = 'tj_aidl_market_viper_small.py'
train_cfg = dict(order=['identity', 'joint'])

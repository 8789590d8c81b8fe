# Table 4, w/o Adaptation.
_base_ = 'tj_aidl_market_duke.py'
train_cfg = dict(order=['identity', 'joint'])

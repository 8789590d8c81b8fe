# Table 4, w/o Adaptation.
_base_ = 'tj_aidl_duke_market.py'
train_cfg = dict(order=['identity', 'joint'])

# Table 3, ID Only.
_base_ = 'tj_aidl_market_viper_small.py'
model = dict(retrieval_feature='identity')
train_cfg = dict(order=['identity'])

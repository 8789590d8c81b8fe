# The other reading of Sec. 3.1.2: the current branch's soft labels.
_base_ = 'tj_aidl_market_viper.py'
model = dict(soft_labels='online')

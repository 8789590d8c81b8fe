# The other reading of Eq. 3 and 4: squared norms, not their means.
_base_ = 'tj_aidl_market_viper.py'
model = dict(
    loss_rec=dict(reduction='sum'), loss_id_transfer=dict(reduction='sum'))

# Table 2, Joint Supervision: one network learns both.
_base_ = 'tj_aidl_market_duke.py'
model = dict(
    _delete_=True,
    type='JointSupervision',
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone={{_base_.model.backbone}},
    num_identities=751,
    num_attributes=27)
train_cfg = dict(
    order=['joint'], stages=dict(joint=dict(max_iters=100_000)))

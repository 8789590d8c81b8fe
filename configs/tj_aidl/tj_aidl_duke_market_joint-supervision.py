# Table 2, Joint Supervision: one network learns both.
_base_ = 'tj_aidl_duke_market.py'
model = dict(
    _delete_=True,
    type='JointSupervision',
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone={{_base_.model.backbone}},
    num_identities=702,
    num_attributes=23)
train_cfg = dict(
    order=['joint'], stages=dict(joint=dict(max_iters=100_000)))

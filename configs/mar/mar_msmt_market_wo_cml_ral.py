# Table 3, MAR w/o L_CML & L_RAL.
_base_ = 'mar_msmt_market.py'
model = dict(
    loss_al=dict(loss_weight=0), loss_rj=dict(loss_weight=0),
    loss_cml=dict(loss_weight=0))

# Table 3, MAR w/o L_CML.
_base_ = 'mar_msmt_market.py'
model = dict(loss_cml=dict(loss_weight=0))

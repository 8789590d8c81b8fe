# Fig. 7 (a).
_base_ = 'mar_msmt_market.py'
model = dict(loss_cml=dict(loss_weight=1e-4))

# Fig. 7 (b).
_base_ = 'mar_msmt_market.py'
model = dict(
    loss_al=dict(loss_weight=10), loss_rj=dict(loss_weight=2))

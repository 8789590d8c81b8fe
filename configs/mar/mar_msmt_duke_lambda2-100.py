# Fig. 7 (b).
_base_ = 'mar_msmt_duke.py'
model = dict(
    loss_al=dict(loss_weight=100), loss_rj=dict(loss_weight=20))

# Fig. 7 (a).
_base_ = 'mar_msmt_duke.py'
model = dict(loss_cml=dict(loss_weight=5e-4))

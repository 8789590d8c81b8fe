# Table 3, baseline (feature-guided), with L_MDL alone: the other reading.
_base_ = 'mar_msmt_duke_feature-guided.py'
model = dict(
    loss_al=dict(loss_weight=0), loss_rj=dict(loss_weight=0),
    loss_cml=dict(loss_weight=0))

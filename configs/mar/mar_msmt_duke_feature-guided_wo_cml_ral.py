# Table 3, baseline (feature-guided), with L_MDL alone: the other reading.
_base_ = 'mar_msmt_duke_feature-guided.py'
model = dict(lambda1=0, lambda2=0)

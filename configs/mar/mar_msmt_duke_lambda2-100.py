# Fig. 7 (b).
_base_ = 'mar_msmt_duke.py'
model = dict(lambda2=100)

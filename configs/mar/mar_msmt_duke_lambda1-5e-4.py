# Fig. 7 (a).
_base_ = 'mar_msmt_duke.py'
model = dict(lambda1=5e-4)

# Table 3, MAR w/o L_RAL.
_base_ = 'mar_msmt_duke.py'
model = dict(lambda2=0)

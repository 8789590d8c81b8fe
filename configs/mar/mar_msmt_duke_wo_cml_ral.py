# Table 3, MAR w/o L_CML & L_RAL.
_base_ = 'mar_msmt_duke.py'
model = dict(lambda1=0, lambda2=0)

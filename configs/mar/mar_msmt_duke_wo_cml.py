# Table 3, MAR w/o L_CML.
_base_ = 'mar_msmt_duke.py'
model = dict(lambda1=0)

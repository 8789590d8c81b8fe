# Fig. 6: the first 2000 reference persons (L_AL keeps all 4,101).
_base_ = 'mar_msmt_duke.py'
model = dict(head=dict(num_reference_persons=2000))

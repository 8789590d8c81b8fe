# Fig. 7 (b).
_base_ = 'mar_msmt_market.py'
model = dict(lambda2=20)

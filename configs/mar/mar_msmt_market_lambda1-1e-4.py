# Fig. 7 (a).
_base_ = 'mar_msmt_market.py'
model = dict(lambda1=1e-4)

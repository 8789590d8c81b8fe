# Fig. 7 (a).
_base_ = 'mar_msmt_market.py'
model = dict(lambda1=2e-5)

# Control: everything but L_MDL.
_base_ = 'mar_cuhk_market.py'
model = dict(miner=None)

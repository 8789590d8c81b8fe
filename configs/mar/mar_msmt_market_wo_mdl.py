# Control that the paper lacks: everything but L_MDL.
_base_ = 'mar_msmt_market.py'
model = dict(miner=None)

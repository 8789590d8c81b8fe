# Control that the paper lacks: everything but L_MDL.
_base_ = 'mar_msmt_duke.py'
model = dict(miner=None)

# Where the published code departs from the text: T is the batch's own, no memory.
# See docs/mar.md.
_base_ = 'mar_msmt_duke.py'
model = dict(memory=None, miner=dict(threshold='batch'))

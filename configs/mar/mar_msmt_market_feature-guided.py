# Table 3, baseline (feature-guided), L_CML and L_RAL staying on: the paper does
# not say whether they do.
_base_ = 'mar_msmt_market.py'
model = dict(
    miner=dict(_delete_=True, type='FeatureGuidedMiner', ratio=0.005))

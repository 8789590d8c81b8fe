# The rows of the paper's Table 3, Fig. 6 and Fig. 7, and two readings that
# are not ours. `python tools/run_table.py configs/mar/table.py --list` shows
# what each changes; `tools/train.py configs/mar/mar_msmt_market.py:wo_cml`
# trains one of them.
import os

configs = ['mar_msmt_market.py', 'mar_msmt_duke.py']
own_cameras = [
    'mar_r50_384x128_own-cameras.py',
    'mar_r50_128x64_own-cameras.py',
]
data_root = os.environ.get('MMREID_DATA', 'data')

wo_ral = dict(loss_al=dict(loss_weight=0), loss_rj=dict(loss_weight=0))
wo_cml = dict(loss_cml=dict(loss_weight=0))
# The paper does not say whether L_CML and L_RAL stay on in this baseline.
feature_guided = dict(
    miner=dict(_delete_=True, type='FeatureGuidedMiner', ratio=0.005))

rows = {
    'wo_cml': dict(title='Table 3, MAR w/o L_CML', model=wo_cml),
    'wo_ral': dict(title='Table 3, MAR w/o L_RAL', model=wo_ral),
    'wo_cml_ral': dict(
        title='Table 3, MAR w/o L_CML & L_RAL', model=dict(wo_ral, **wo_cml)),
    'feature-guided': dict(
        title='Table 3, baseline (feature-guided), L_CML and L_RAL on',
        model=feature_guided),
    'feature-guided_wo_cml_ral': dict(
        title='Table 3, baseline (feature-guided), L_MDL alone',
        model=dict(feature_guided, **wo_ral, **wo_cml)),
    'wo_mdl': dict(
        title='control that the paper lacks: everything but L_MDL',
        configs=[
            *configs,
            'mar_r50_384x128_cuhk-market.py',
            'mar_r50_128x64_cuhk-market.py',
        ],
        model=dict(miner=None)),
    # L_AL keeps all 4,101.
    **{
        f'{num}-persons': dict(
            title=f'Fig. 6, the first {num} reference persons',
            model=dict(head=dict(num_reference_persons=num)))
        for num in (100, 500, 1000, 1500, 2000, 3000)
    },
    **{
        f'lambda1-{weight}': dict(
            title=f'Fig. 7 (a), lambda_1 = {weight}',
            model=dict(loss_cml=dict(loss_weight=float(weight))))
        for weight in ('2e-5', '5e-5', '1e-4', '5e-4', '1e-3')
    },
    # L_RJ weighs lambda_2 beta, with beta = 0.2.
    **{
        f'lambda2-{weight}': dict(
            title=f'Fig. 7 (b), lambda_2 = {weight}',
            model=dict(
                loss_al=dict(loss_weight=weight),
                loss_rj=dict(loss_weight=weight // 5)))
        for weight in (5, 10, 20, 100, 200)
    },
    # Where the published code departs from the text, see docs/mar.md.
    'paper-text': dict(
        title="the text, not the published code: the batch's T, no memory",
        model=dict(memory=None, miner=dict(threshold='batch'))),
    # Auxiliary sets for your own cameras, in place of Market-1501.
    'msmt': dict(
        title='all of MSMT17 as the auxiliary set',
        configs=own_cameras,
        source=dict(
            type='MSMT17', data_root=data_root + '/msmt17', combine_all=True),
        model=dict(head=dict(num_agents=4101))),
    'cuhk01': dict(
        title='CUHK01 as the auxiliary set',
        configs=own_cameras,
        source=dict(type='CUHK01', data_root=data_root + '/cuhk01'),
        model=dict(head=dict(num_agents=971))),
}

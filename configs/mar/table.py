# The rows of the paper's Table 3, Fig. 6 and Fig. 7, and two readings that
# are not ours; then its tables and figures, which are made of them.
# `python tools/reproduce.py mar/table-3 --list` shows what is trained;
# `tools/train.py configs/mar/mar_msmt_market.py:wo_cml` trains one row.
import os

configs = [
    'mar_msmt_market.py',
    'mar_msmt_duke.py',
    'mar_r50_384x128_cuhk-market.py',
    'mar_r50_128x64_cuhk-market.py',
    'mar_osnet-x0-25_192x96_cuhk-market.py',
    'mar_demo.py',
]
own_cameras = [
    'mar_r50_384x128_own-cameras.py',
    'mar_r50_128x64_own-cameras.py',
]
short = ['mar_r50_128x64_cuhk-market.py']
source_free = ['mar-source-free_osnet-x0-25_192x96_market1501.py']
data_root = os.environ.get('MMREID_DATA', 'data')

wo_ral = dict(loss_al=dict(loss_weight=0), loss_rj=dict(loss_weight=0))
wo_cml = dict(loss_cml=dict(loss_weight=0))
wo_mdl = dict(
    model=dict(miner=None),
    # Else it would look for what is not mined.
    default_hooks=dict(pair_mining=dict(purity=False)))
# The paper does not say whether L_CML and L_RAL stay on in this baseline.
feature_guided = dict(
    miner=dict(
        _delete_=True,
        type='FeatureGuidedMiner',
        ratio='{{_base_.model.miner.ratio}}'))

# Of each main config, in their order.
reference_persons = [4101, 4101, 1714, 1714, 1714, 600]
persons = [100, 300, 500, 1000, 1500, 2000, 3000]
lambdas1 = ['2e-5', '5e-5', '1e-4', '5e-4', '1e-3']
lambdas2 = [5, 10, 20, 100, 200]
ratios = [0.001, 0.002, 0.005, 0.01, 0.02]
own_ratios = [0.005, 0.005, 0.005, 0.001, 0.001, 0.005]
betas = [0.05, 0.1, 0.5, 1.0]


def main_stage(lr, iterations):
    return dict(
        stages=dict(
            main=dict(
                max_iters=iterations,
                optim_wrapper=dict(optimizer=dict(lr=lr)),
                param_scheduler={
                    '0': dict(milestones=[iterations * 7 // 10])
                })))


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
        wo_mdl,
        title='control that the paper lacks: everything but L_MDL'),
    'source-free_wo_mdl': dict(
        wo_mdl,
        title='without source and without L_MDL',
        configs=source_free),
    # L_AL keeps all: 4,101, 1,714 or, embedded, 600.
    **{
        f'{num}-persons': dict(
            title=f'Fig. 6, the first {num} reference persons',
            configs=configs[: sum(num < most for most in reference_persons)],
            model=dict(head=dict(num_reference_persons=num)))
        for num in persons
    },
    **{
        f'lambda1-{weight}': dict(
            title=f'Fig. 7 (a), lambda_1 = {weight}',
            model=dict(loss_cml=dict(loss_weight=float(weight))))
        for weight in lambdas1
    },
    # L_RJ weighs lambda_2 beta, with beta = 0.2.
    **{
        f'lambda2-{weight}': dict(
            title=f'Fig. 7 (b), lambda_2 = {weight}',
            model=dict(
                loss_al=dict(loss_weight=weight),
                loss_rj=dict(loss_weight=weight // 5)))
        for weight in lambdas2
    },
    **{
        f'p-{ratio}': dict(
            title=f'supplementary, mining ratio p = {ratio}',
            configs=[
                config
                for config, own in zip(configs, own_ratios)
                if own != ratio
            ],
            model=dict(miner=dict(ratio=ratio)))
        for ratio in ratios
    },
    **{
        f'beta-{beta}': dict(
            title=f'supplementary, beta = {beta}',
            model=dict(loss_rj=dict(loss_weight=50 * beta)))
        for beta in betas
    },
    # Where the published code departs from the text, see docs/methods/mar.md.
    'paper-text': dict(
        title='the text, not the published code: each batch by itself',
        model=dict(
            head=dict(scale='auto'),
            memory=None,
            miner=dict(threshold='batch'),
            references=None),
        default_hooks=dict(pair_mining=dict(start_epoch=0))),
    # Of the images of all parts; no use for drawn pedestrians.
    'matlab-resize': dict(
        title="resizing as the published data: MATLAB's antialiased bicubic",
        configs=configs[:-1],
        **{
            f'{part}_dataloader': dict(
                dataset=dict(pipeline={'1': dict(type='MatlabResize')}))
            for part in ('train', 'val', 'test')
        }),
    # What a fiftieth of the paper's iterations may lack: a rate at which the
    # source is kept, with L_MDL's share of it as before; then more of them.
    'slow': dict(
        title='a quarter of the rate, L_MDL weighted four times',
        configs=short,
        model=dict(loss_mdl=dict(loss_weight=80)),
        train_cfg=main_stage(5e-5, 250)),
    'long': dict(
        title='a quarter of the rate, five times the iterations',
        configs=short,
        train_cfg=main_stage(5e-5, 1250)),
    'long_wo_mdl': dict(
        wo_mdl,
        title='five times the iterations, everything but L_MDL',
        configs=short,
        train_cfg=main_stage(5e-5, 1250)),
    # Another method, from the same start.
    'cluster-contrast': dict(
        title='Cluster Contrast, from what the source taught',
        after='pretrain',
        _base_={
            'mar_demo.py': '../cluster_contrast/cluster_contrast_demo.py',
        }),
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
# The pretraining is L_AL alone, which no row of the method changes.
for row in rows.values():
    own_source = {'source', 'train_dataloader'} & row.keys()
    if not own_source and row.get('configs') != source_free:
        row['after'] = 'pretrain'


def scores(*values):
    return dict(zip(('rank-1', 'rank-5', 'rank-10', 'mAP'), values))


def both(market, duke):
    return dict(mar_msmt_market=market, mar_msmt_duke=duke)


source_only = dict(
    title='pretrained (source only)',
    stage='pretrain',
    paper=both(
        scores(46.2, 64.4, 71.3, 24.6), scores(43.1, 59.2, 65.7, 28.8)))
mar = dict(
    title='MAR',
    paper=both(
        scores(67.7, 81.9, 87.3, 40.0), scores(67.1, 79.8, 84.2, 48.0)))
# What a target gives without any mining. The paper has none of them.
controls = [
    dict(title='(a) BN of the target', stage='pretrain', bn=True),
    dict(title='(b) everything but L_MDL', row='wo_mdl'),
]
# The main stage's batch norms average over both domains.
batch_norms = [
    dict(title='(b), then (a)', row='wo_mdl', bn=True),
    dict(title='MAR, then (a)', bn=True),
]
camera_means = [
    dict(
        title=f'{title}, (c) camera means subtracted',
        camera_mean=True,
        **cell)
    for title, cell in (
        ('source only', dict(stage='pretrain')),
        ('(a)', dict(stage='pretrain', bn=True)),
        ('(b)', dict(row='wo_mdl')),
        ('(b), then (a)', dict(row='wo_mdl', bn=True)),
        ('MAR', dict()),
        ('MAR, then (a)', dict(bn=True)),
    )
]


def curve(row, values, main):
    # The main config has the paper's own value.
    points = [(float(v), row.format(v)) for v in values] + [(main, '')]
    return [dict(title=f'{x:g}', x=x, row=row) for x, row in sorted(points)]


compared = dict(
    title='MAR and its controls',
    cells=[
        dict(title='untrained', stage='untrained'),
        source_only,
        *controls,
        mar,
        *batch_norms,
        *camera_means,
    ])
experiments = {
    'table-1': dict(compared, configs=['mar_msmt_market.py', *configs[2:]]),
    'table-2': dict(compared, configs=['mar_msmt_duke.py']),
    'demo': dict(
        title='MAR and Cluster Contrast on the embedded pedestrians',
        configs=['mar_demo.py'],
        cells=[
            *compared['cells'][:5],
            dict(
                title='Cluster Contrast, from the pretrained model',
                row='cluster-contrast'),
            dict(title='rank lists', tool='rank_list'),
            dict(
                title='clusters',
                row='cluster-contrast',
                tool='plot_pseudo_labels',
                log=True),
        ]),
    'table-3': dict(
        title='the ablations of MAR',
        cells=[
            source_only,
            # The paper has one number, and does not say of which.
            *(
                dict(
                    title=f'baseline (feature-guided), {losses}',
                    row=row,
                    paper=both(
                        scores(44.4, 62.5, 69.8, 21.5),
                        scores(50.0, 66.4, 71.7, 31.7)))
                for losses, row in (
                    ('L_CML and L_RAL on', 'feature-guided'),
                    ('L_MDL alone', 'feature-guided_wo_cml_ral'),
                )
            ),
            dict(
                title='MAR w/o L_CML',
                row='wo_cml',
                paper=both(
                    scores(60.0, 75.9, 81.9, 34.6),
                    scores(63.2, 77.2, 82.5, 44.9))),
            dict(
                title='MAR w/o L_CML & L_RAL',
                row='wo_cml_ral',
                paper=both(
                    scores(53.9, 71.5, 77.7, 28.2),
                    scores(60.1, 73.0, 78.4, 40.4))),
            dict(
                title='MAR w/o L_RAL',
                row='wo_ral',
                paper=both(
                    scores(59.2, 76.4, 82.3, 30.8),
                    scores(57.9, 72.6, 77.8, 37.1))),
            *controls,
            mar,
        ]),
    'source-free': dict(
        title='MAR from a checkpoint alone',
        configs=source_free,
        cells=[
            dict(title='the weights as they are', stage='untrained'),
            dict(title='(a) BN of the target', stage='untrained', bn=True),
            dict(
                title='(c) camera means subtracted',
                stage='untrained',
                camera_mean=True),
            dict(
                title='(a), (c) camera means subtracted',
                stage='untrained',
                bn=True,
                camera_mean=True),
            dict(title='(b) L_CML alone', row='source-free_wo_mdl'),
            dict(title='MAR'),
            dict(title='MAR, (c) camera means subtracted', camera_mean=True),
        ]),
    'length': dict(
        title='the rate and the length of the main stage',
        configs=short,
        cells=[
            source_only,
            controls[1],
            mar,
            dict(title='MAR, 5e-5', row='slow'),
            dict(
                title='(b), 5e-5, five times the iterations',
                row='long_wo_mdl'),
            dict(title='MAR, 5e-5, five times the iterations', row='long'),
        ]),
    'fig-5': dict(
        title='similar pairs of lowest soft multilabel agreement',
        cells=[dict(title='MAR', tool='similar_pairs')]),
    'log-normality': dict(
        title='the distribution of log soft multilabels, per camera',
        cells=[dict(title='MAR', tool='soft_multilabel_stats')]),
    'fig-7a': dict(
        title='the weight of L_CML, lambda_1',
        x='lambda_1',
        cells=curve('lambda1-{}', lambdas1, 2e-4)),
    'fig-7b': dict(
        title='the weight of L_RAL, lambda_2',
        x='lambda_2',
        cells=curve('lambda2-{}', lambdas2, 50)),
    'p': dict(
        title='the mining ratio p',
        x='p',
        cells=[
            *curve('p-{}', ratios, 1)[:-1],
            dict(
                title="the config's own",
                x={config[:-3]: p for config, p in zip(configs, own_ratios)}),
        ]),
    'beta': dict(
        title='the weight of L_RJ in L_RAL, beta',
        x='beta',
        cells=curve('beta-{}', betas, 0.2)),
    'fig-6': dict(
        title='the number of reference persons',
        x='reference persons',
        cells=[
            *curve('{}-persons', persons, 4101)[:-1],
            dict(
                title='all',
                x={
                    config[:-3]: num
                    for config, num in zip(configs, reference_persons)
                }),
        ]),
}

# Whose numbers of the paper stand beside those on other real data.
stands_for = {config[:-3]: 'mar_msmt_market' for config in configs[2:5]}

# Nobody chose a setting on people drawn with seeds other than 0.
embedded = dict(
    mar_demo=dict(
        write='write_benchmark',
        data=dict(source_ids=600, target_train_ids=600, target_test_ids=300),
        roots={'source.data_root': '', 'target.data_root': ''},
        smoke=dict(
            data=dict(source_ids=40, target_train_ids=40, target_test_ids=20),
            options={
                'model.head.num_agents': 40,
                # For 240 images, of a network that has hardly learned.
                'model.clusterer.k1': 8,
                'model.clusterer.k2': 3,
                'model.clusterer.min_samples': 2,
            })))

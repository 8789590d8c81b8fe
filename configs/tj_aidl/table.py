# The rows of the paper's Tables 2, 3 and 4, two readings that are not ours,
# and the hypotheses of docs/reproduction/tj_aidl.md; then the tables and
# figures, which are made of them.
# `python tools/reproduce.py tj_aidl/table-2 --list` shows what is trained;
# `tools/train.py configs/tj_aidl/tj_aidl_market_duke.py:sum` trains one row.
# '{{_base_.KEY}}' is what the main config has there.
import os

one_split = ['tj_aidl_market_duke.py', 'tj_aidl_duke_market.py']
ten_splits = [
    'tj_aidl_market_viper.py',
    'tj_aidl_duke_viper.py',
    'tj_aidl_market_prid.py',
    'tj_aidl_duke_prid.py',
]
paper = [*one_split, *ten_splits]
small = ['tj_aidl_mobilenet_128x64_market-viper.py']
large = ['tj_aidl_mobilenet_256x128_market-viper.py']
osnet = ['tj_aidl_osnet-x0-25_192x96_market-viper.py']
configs = [*paper, *small, *large, *osnet, 'tj_aidl_demo.py']

data_root = os.environ.get('MMREID_DATA', 'data')

# A branch on its own learns as long as the identity branch does.
alone = '{{_base_.train_cfg.stages.identity}}'


def identity_only(title, stage=None, **changes):
    return dict(
        title=f'Recipe: identity only, {title}',
        configs=small,
        model=dict(retrieval_feature='identity'),
        train_cfg=dict(order=['identity'], stages=dict(identity=stage or {})),
        **changes)


def six_epochs(rate=1e-3):
    scheduler = dict(type='OneCycleLR', eta_max=rate, by_epoch=False)
    return dict(max_iters=2424, param_scheduler=[scheduler])



rows = {
    'identity-only_6e': identity_only(
        '6 epochs, weight decay 5e-4', six_epochs()),
    'identity-only_6e_rate-3e-4': identity_only(
        '6 epochs, a rate of 3e-4', six_epochs(3e-4)),
    'identity-only_6e_rate-3e-3': identity_only(
        '6 epochs, a rate of 3e-3', six_epochs(3e-3)),
    'identity-only_6e_wo-decay': identity_only(
        '6 epochs, no weight decay',
        six_epochs(),
        optim_wrapper=dict(optimizer=dict(weight_decay=0))),
    'identity-only_6e_decay-4e-5': identity_only(
        '6 epochs, weight decay 4e-5, not on depthwise convolutions',
        six_epochs(),
        optim_wrapper=dict(
            optimizer=dict(weight_decay=4e-5),
            paramwise_cfg=dict(dwconv_decay_mult=0))),
    'identity-only_paper-rate': identity_only(
        "12 epochs of the paper's rate: constant 2e-3, batches of 8, no "
        'weight decay',
        dict(
            batch_size=dict(source=8),
            max_iters=19404,
            param_scheduler=[]),
        optim_wrapper=dict(optimizer=dict(lr=2e-3, weight_decay=0))),
    'attribute-only': dict(
        title='Table 3, Attribute Only',
        train_cfg=dict(order=['attribute'], stages=dict(attribute=alone))),
    'identity-only': dict(
        title='Table 3, ID Only',
        model=dict(retrieval_feature='identity'),
        train_cfg=dict(order=['identity'])),
    'independent': dict(
        title='Table 2, Independent Supervision: each branch on its own',
        after='identity',
        model=dict(retrieval_feature='concatenated'),
        train_cfg=dict(
            order=['identity', 'attribute'], stages=dict(attribute=alone))),
    'joint-supervision': dict(
        title='Table 2, Joint Supervision: one network learns both',
        model=dict(
            _delete_=True,
            type='JointSupervision',
            data_preprocessor='{{_base_.model.data_preprocessor}}',
            backbone='{{_base_.model.backbone}}',
            num_identities='{{_base_.model.num_identities}}',
            num_attributes='{{_base_.model.num_attributes}}'),
        train_cfg=dict(order=['joint'], stages=dict(joint=alone))),
    'wo-adaptation': dict(
        title='Table 4, w/o Adaptation',
        train_cfg=dict(order=['identity', 'joint'])),
    # In the main configs the joint stage has fewer iterations than a branch
    # on its own: half of them at 128x64, 2.5 epochs at 256x128.
    'long-joint': dict(
        title='a joint stage as long as a branch on its own',
        configs=small,
        after='identity',
        train_cfg=dict(stages=dict(joint=dict(max_iters=4848)))),
    'joint_7e': dict(
        title='a joint stage of 7 epochs',
        configs=large,
        after='identity',
        train_cfg=dict(stages=dict(joint=dict(max_iters=2828)))),
    'online': dict(
        title="the other reading of Sec. 3.1.2: the current branch's labels",
        after='joint',
        model=dict(soft_labels='online')),
    # Of the same source stages: VIPeR has one query per person.
    'cuhk01': dict(
        title='another target: CUHK01',
        configs=[*small, *osnet],
        after='joint',
        target=dict(type='CUHK01', data_root=f'{data_root}/cuhk01')),
    # docs/reproduction/tj_aidl.md numbers the hypotheses.
    'long-adaptation': dict(
        title='hypothesis 4: 4,000 iterations of adaptation at 6e-4',
        configs=[*small, *osnet, 'tj_aidl_demo.py'],
        after='joint',
        train_cfg=dict(
            stages=dict(
                adapt=dict(
                    max_iters=4000,
                    optim_wrapper=dict(optimizer=dict(lr=6e-4)))))),
    'target-bn': dict(
        title="hypothesis 5: soft labels by the target's batch norms",
        after='joint',
        model=dict(soft_labels='target-bn')),
    'eval-identity': dict(
        title='hypothesis 6: the IIA reads x_id of eval mode throughout',
        after='identity',
        model=dict(eval_identity_feature=True)),
    'from-identity': dict(
        title='hypothesis 7: the attribute branch starts from the identity '
        'branch',
        after='identity',
        model=dict(attribute_from_identity=True)),
    'sum': dict(
        title='the other reading of Eq. 3 and 4: squared norms, not means',
        configs=paper,
        after='identity',
        model=dict(
            loss_rec=dict(reduction='sum'),
            loss_id_transfer=dict(reduction='sum'))),
}


def scores(*values):
    names = ('rank-1', 'rank-5', 'rank-10', 'rank-20', 'mAP')
    return dict(zip(names, values))


def paper_scores(to_duke, to_market):
    return dict(
        tj_aidl_market_duke=scores(*to_duke),
        tj_aidl_duke_market=scores(*to_market))


identity_feature = {'model.retrieval_feature': 'identity'}
# Both branches of one training: the paper trains each network once.
attribute_only = dict(
    title='attribute only',
    row='independent',
    options={'model.retrieval_feature': 'attribute'},
    paper=paper_scores((24.3, 38.3, 45.7, 53.0, 10.0),
                       (38.0, 59.2, 67.6, 75.7, 13.6)))
identity_alone = dict(
    title='identity only',
    stage='identity',
    options=identity_feature,
    paper=paper_scores((30.6, 44.9, 50.5, 59.3, 14.6),
                       (51.6, 69.8, 76.6, 81.6, 21.6)))
tj_aidl = dict(
    title='TJ-AIDL',
    paper=dict(
        paper_scores((44.3, 59.6, 65.0, 70.0, 23.0),
                     (58.2, 74.8, 81.1, 86.5, 26.5)),
        tj_aidl_market_viper=scores(38.5),
        tj_aidl_duke_viper=scores(35.1),
        tj_aidl_market_prid=scores(26.8),
        tj_aidl_duke_prid=scores(34.8)))
wo_adaptation = dict(
    title='w/o adaptation',
    stage='joint',
    paper=paper_scores((39.6, 55.5, 62.2, 67.5, 22.0),
                       (57.1, 74.4, 80.4, 85.7, 26.2)))
fusions = [
    dict(
        title='independent supervision',
        row='independent',
        paper=paper_scores((33.8, 49.5, 56.0, 63.8, 16.9),
                           (54.9, 72.9, 79.3, 85.2, 24.5))),
    dict(
        title='joint supervision',
        row='joint-supervision',
        paper=paper_scores((37.9, 52.1, 58.6, 65.3, 20.6),
                           (53.4, 71.2, 78.1, 83.3, 21.9))),
]
# The paper has no such control.
bn = dict(title='w/o adaptation, BN of the target', stage='joint', bn=True)

every_row = [
    dict(title='untrained', stage='untrained'),
    attribute_only,
    identity_alone,
    *fusions,
    wo_adaptation,
    bn,
    tj_aidl,
]


def of_row(row, cells, start='', end='', **changes):
    return [
        dict(
            cell,
            title=f'{start}{cell["title"]}{end}',
            row=row,
            paper={},
            **changes) for cell in cells
    ]


def longer_joint(row, configs):
    cells = [
        dict(identity_alone, stage='joint', title='its identity branch'),
        wo_adaptation,
        bn,
        tj_aidl,
    ]
    return of_row(
        row, cells, start=f'{rows[row]["title"]}: ', configs=configs)


# All 1,942 queries at once.
whole_cuhk01 = dict(
    whole=True,
    options={
        'target.type': 'CUHK01',
        'target.data_root': f'{data_root}/cuhk01',
        'test_evaluator.feature_statistics': True,
    })

columns = ['rank-1', 'rank-5', 'rank-10', 'rank-20', 'mAP']
experiments = {
    'table-1': dict(
        title='TJ-AIDL and its control',
        columns=columns,
        cells=[
            dict(title='untrained', stage='untrained'),
            wo_adaptation,
            bn,
            tj_aidl,
        ]),
    'table-2': dict(
        title='fusions of identities and attributes',
        columns=columns,
        cells=[*fusions, tj_aidl]),
    'table-3': dict(
        title='identities and attributes alone, and both',
        columns=columns,
        cells=[attribute_only, identity_alone, tj_aidl]),
    'table-4': dict(
        title='the adaptation',
        columns=columns,
        cells=[wo_adaptation, bn, tj_aidl]),
    # One table in place of four.
    'all': dict(title='Tables 1 to 4', columns=columns, cells=every_row),
    'demo': dict(
        title='TJ-AIDL on the embedded pedestrians',
        configs=['tj_aidl_demo.py'],
        columns=columns,
        cells=[*every_row, dict(title='rank lists', tool='rank_list')]),
    'fig-3': dict(
        title='target images with predicted attributes',
        cells=[
            dict(
                title='TJ-AIDL',
                configs=[*one_split, 'tj_aidl_demo.py'],
                tool='predicted_attributes'),
            # On random splits there is no one adapted model.
            dict(
                title='w/o adaptation',
                configs=[*ten_splits, *small, *large, *osnet],
                stage='joint',
                tool='predicted_attributes'),
        ]),
    'fig-4': dict(
        title='features of ten persons (t-SNE)',
        # On random splits there is no one adapted model, nor a person of
        # more than two images.
        configs=[*one_split, 'tj_aidl_demo.py'],
        cells=[
            dict(
                title='TJ-AIDL',
                tool='tsne',
                panels={
                    'attribute-only': 'independent:attribute',
                    'identity-only': ':identity',
                }),
        ]),
    'joint-length': dict(
        title='the length of the joint stage',
        configs=[*small, *large],
        columns=columns,
        cells=[
            identity_alone,
            wo_adaptation,
            bn,
            tj_aidl,
            *longer_joint('long-joint', small),
            *longer_joint('joint_7e', large),
        ]),
    'cuhk01': dict(
        title='the same source, CUHK01 as the target',
        configs=[*small, *osnet],
        columns=columns,
        cells=[
            *of_row('cuhk01', [identity_alone, wo_adaptation, bn, tj_aidl]),
            *of_row(
                'cuhk01', [identity_alone, wo_adaptation, bn],
                end=', all images',
                whole=True),
        ]),
    # After the hypotheses of docs/reproduction/tj_aidl.md.
    'causes': dict(
        title='what the adaptation may lack',
        columns=columns,
        cells=[
            wo_adaptation,
            bn,
            tj_aidl,
            *(
                dict(title=f'TJ-AIDL, {title}', row=row)
                for title, row in (
                    ('4,000 iterations at 6e-4', 'long-adaptation'),
                    ("the current branch's soft labels", 'online'),
                    ("soft labels by the target's batch norms", 'target-bn'),
                    ('x_id of eval mode throughout', 'eval-identity'),
                    ('attributes from the identity branch', 'from-identity'),
                )
            ),
            # Both change the joint stage, too.
            *of_row(
                'eval-identity', [wo_adaptation, bn],
                end=', x_id of eval mode throughout'),
            *of_row(
                'from-identity', [wo_adaptation, bn],
                end=', attributes from the identity branch'),
        ]),
    'recipe': dict(
        title="the source's recipe: rate, weight decay, batch",
        configs=small,
        columns=[*columns, 'dead', 'effective-rank'],
        cells=[
            dict(title=row['title'].partition(', ')[2] + of, row=name, **what)
            for name, row in rows.items()
            if row['title'].startswith('Recipe')
            for of, what in (('', {}), (': CUHK01', whole_cuhk01))
        ]),
}

# Whose numbers of the paper stand beside those on other real data.
stands_for = {
    config[:-3]: 'tj_aidl_market_viper'
    for config in (*small, *large, *osnet)
}

# Nobody chose a setting on people drawn with seeds other than 0.
embedded = dict(
    tj_aidl_demo=dict(
        write='write_attribute_benchmark',
        data=dict(source_ids=600, target_train_ids=600, target_test_ids=300),
        roots={
            'source.data_root': '',
            'source.attribute_file': 'DukeMTMC-reID/duke_attribute.mat',
            'target.data_root': '',
        },
        tool_roots={
            'test_dataloader.dataset.attribute_file':
                'Market-1501-v15.09.15/market_attribute.mat',
        },
        smoke=dict(
            data=dict(source_ids=40, target_train_ids=40, target_test_ids=20),
            options={'model.num_identities': 40})))

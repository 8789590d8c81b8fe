# The rows of the paper's Tables 2, 3 and 4, and two readings that are not
# ours. `python tools/run_table.py configs/tj_aidl/table.py --list` shows what
# each changes; `tools/train.py configs/tj_aidl/tj_aidl_market_duke.py:sum`
# trains one of them. '{{_base_.KEY}}' is what the main config has there.
paper = [
    'tj_aidl_market_viper.py',
    'tj_aidl_market_duke.py',
    'tj_aidl_duke_market.py',
]
configs = paper + ['tj_aidl_mobilenet_128x64_market-viper.py']

# A branch on its own learns as long as the identity branch does.
alone = '{{_base_.train_cfg.stages.identity}}'

rows = {
    'attribute-only': dict(
        title='Table 3, Attribute Only',
        train_cfg=dict(order=['attribute'], stages=dict(attribute=alone))),
    'identity-only': dict(
        title='Table 3, ID Only',
        model=dict(retrieval_feature='identity'),
        train_cfg=dict(order=['identity'])),
    'independent': dict(
        title='Table 2, Independent Supervision: each branch on its own',
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
    'online': dict(
        title="the other reading of Sec. 3.1.2: the current branch's labels",
        configs=paper,
        model=dict(soft_labels='online')),
    'sum': dict(
        title='the other reading of Eq. 3 and 4: squared norms, not means',
        configs=paper,
        model=dict(
            loss_rec=dict(reduction='sum'),
            loss_id_transfer=dict(reduction='sum'))),
}

# How well attributes are told of people never seen: the attribute branch of
# tj_aidl_mobilenet_128x64_market-viper.py, trained on 600 identities of
# Market-1501 and scored on the 151 others.
_base_ = 'tj_aidl_mobilenet_128x64_market-viper.py'

source = dict(
    type='Market1501',
    data_root='{{$MMREID_DATA:data}}/market1501',
    attribute_file='{{$MMREID_DATA:data}}/attributes/market_attribute.mat',
    val_identities=151,
    val_seed=0)
train_dataloader = dict(dataset=dict(target=None))
test_dataloader = dict(dataset=dict(source, split='val'))
test_evaluator = [
    dict(type='ReIDMetric', metric='euclidean', ap='standard'),
    dict(type='AttributeMetric'),
]
model = dict(num_identities=600)
train_cfg = dict(
    order=['attribute'],
    stages=dict(
        attribute=dict(
            batch_size=dict(source=32),
            max_iters=2424,
            param_scheduler=[
                dict(
                    type='OneCycleLR',
                    eta_max=1e-3,
                    by_epoch=False)
            ])))

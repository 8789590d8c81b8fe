# DukeMTMC-reID with identities and attributes as the source, Market-1501
# without labels as the target.
_base_ = 'market1501_viper.py'

data_root = '{{$MMREID_DATA:data}}'
source = dict(
    type='DukeMTMCreID',
    data_root=data_root + '/dukemtmc-reid',
    attribute_file=data_root + '/attributes/duke_attribute.mat')
target = dict(
    type='Market1501', data_root=data_root + '/market1501')

train_dataloader = dict(dataset=dict(source=source, target=target))
test_dataloader = dict(dataset=target)

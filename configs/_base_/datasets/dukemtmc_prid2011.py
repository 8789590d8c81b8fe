# DukeMTMC-reID with identities and attributes as the source, PRID-2011 (single shot)
# without labels as the target.
_base_ = 'market1501_viper.py'

data_root = '{{$MMREID_DATA:data}}'
source = dict(
    type='DukeMTMCreID',
    data_root=data_root + '/dukemtmc-reid',
    attribute_file=data_root + '/attributes/duke_attribute.mat')
target = dict(
    type='PRID2011', data_root=data_root + '/prid2011')

train_dataloader = dict(dataset=dict(source=source, target=target))
test_dataloader = dict(dataset=target)

# DukeMTMC-reID with identities and attributes as the source, VIPeR
# without labels as the target.
_base_ = 'market1501_viper.py'

data_root = '{{$MMREID_DATA:data}}'
source = dict(
    type='DukeMTMCreID',
    data_root=data_root + '/dukemtmc-reid',
    attribute_file=data_root + '/attributes/duke_attribute.mat')

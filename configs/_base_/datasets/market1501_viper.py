# Market-1501 with identities and attributes as the source, VIPeR without
# labels as the target.
# Data sets lie below data/, or below the folder named by MMREID_DATA
# (docs/datasets.md says what each must look like). Of VIPeR, train and test
# part are those of a random split: tools/run_splits.py names it. Without one
# the target's training images would be those of the test.
data_root = '{{$MMREID_DATA:data}}'

source = dict(
    type='Market1501',
    data_root=data_root + '/market1501',
    attribute_file=data_root + '/attributes/market_attribute.mat')
target = dict(type='VIPeR', data_root=data_root + '/viper')

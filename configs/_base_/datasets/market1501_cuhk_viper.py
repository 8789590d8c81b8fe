# Market-1501, CUHK01 and CUHK03 (labelled boxes; 2,465 identities) as one
# source, VIPeR without labels as the target.
# Data sets lie below data/, or below the folder named by MMREID_DATA
# (docs/datasets.md says what each must look like). VIPeR is tested on random
# splits: tools/run_splits.py.
data_root = '{{$MMREID_DATA:data}}'

source = [
    dict(type='Market1501', data_root=data_root + '/market1501'),
    dict(type='CUHK01', data_root=data_root + '/cuhk01'),
    dict(type='ReIDManifest', ann_file=data_root + '/cuhk03/labeled.csv')
]
target = dict(type='VIPeR', data_root=data_root + '/viper')

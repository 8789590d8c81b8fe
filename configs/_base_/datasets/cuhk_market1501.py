# CUHK01 and CUHK03 (labelled boxes; 1,714 identities) as the auxiliary set,
# Market-1501 without labels as the target. 151 of its 751 training identities
# are kept apart for validation: the only ones whose labels are read.
# Data sets lie below data/, or below the folder named by MMREID_DATA
# (docs/datasets.md says what each must look like).
data_root = '{{$MMREID_DATA:data}}'

source = [
    dict(type='CUHK01', data_root=data_root + '/cuhk01'),
    dict(type='ReIDManifest', ann_file=data_root + '/cuhk03/labeled.csv')
]
target = dict(
    type='Market1501',
    data_root=data_root + '/market1501',
    val_identities=151,
    val_seed=0)

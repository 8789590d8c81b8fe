# Market-1501 without labels as the target, and no source. 151 of its 751
# training identities are kept apart for validation: the only ones whose labels
# are read. Data sets lie below data/, or below the folder named by MMREID_DATA
# (docs/datasets.md says what each must look like).
target = dict(
    type='Market1501',
    data_root='{{$MMREID_DATA:data}}/market1501',
    val_identities=151,
    val_seed=0)

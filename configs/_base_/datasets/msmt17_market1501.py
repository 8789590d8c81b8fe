# All of MSMT17 V1 (126,441 images, 4,101 identities) as the auxiliary set,
# Market-1501 without labels as the target.
# Data sets lie below data/, or below the folder named by MMREID_DATA
# (docs/datasets.md says what each must look like).
data_root = '{{$MMREID_DATA:data}}'

source = dict(
    type='MSMT17', data_root=data_root + '/msmt17', combine_all=True)
target = dict(type='Market1501', data_root=data_root + '/market1501')

# Mean and standard deviation of each data set's own training images, RGB.
msmt17_stats = dict(
    mean=(79.2386, 73.9793, 77.2493), std=(67.2012, 63.9191, 61.8367))
market1501_stats = dict(
    mean=(105.6896, 99.1306, 97.9125), std=(55.3543, 53.4009, 53.2279))

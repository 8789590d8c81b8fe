# Rows and tables of the baseline.
# `python tools/reproduce.py baseline/viper --list` shows what is trained.
configs = [
    'baseline_osnet-x0-25-combineall_256x128_market-cuhk-viper.py',
]

rows = {}

experiments = {
    'viper': dict(
        title='labels of other data sets, for VIPeR',
        columns=['rank-1', 'rank-5', 'rank-10', 'rank-20', 'mAP'],
        cells=[
            dict(title='the weights as they are', stage='untrained'),
            dict(
                title='the weights as they are, (c) camera means subtracted',
                stage='untrained',
                camera_mean=True),
            dict(title='supervised on three data sets'),
            dict(
                title='supervised on three, (a) BN of the target',
                stage='train',
                bn=True),
            dict(
                title='supervised on three, (c) camera means subtracted',
                camera_mean=True),
        ]),
}

# Rows and tables of camera-aware proxies.
# `python tools/reproduce.py camera_proxies/table-1 --list` shows what is
# trained; `tools/train.py CONFIG.py:intra` trains one row.
configs = [
    'camera_proxies_r50_256x128_market1501.py',
    'camera_proxies_r50_128x64_market1501.py',
    'camera_proxies_osnet-x0-25_192x96_market1501.py',
    'camera_proxies_osnet-x0-25-combineall_192x96_market1501.py',
    'camera_proxies_osnet-x0-25-combineall_192x96_viper.py',
]

of_market = configs[:-1]

rows = {
    'intra': dict(
        title='L_intra alone', model=dict(loss_inter=dict(loss_weight=0))),
    # Cameras in the clustering, too, which the paper lacks.
    'camera-mean': dict(
        title='camera means subtracted before clustering',
        configs=of_market,
        model=dict(camera_mean=True)),
    # Once the settings are chosen: those kept apart are of the target, too.
    'all-identities': dict(
        title='all 751 identities, none kept apart for validation',
        configs=of_market,
        target=dict(val_identities=0)),
}

camera_proxies = dict(
    title='camera-aware proxies',
    paper=dict(
        camera_proxies_r50_256x128_market1501={
            'rank-1': 91.4,
            'mAP': 79.2,
        }))
experiments = {
    'table-1': dict(
        title='camera-aware proxies and their controls',
        cells=[
            dict(title='the weights as they are', stage='untrained'),
            dict(title='(a) BN of the target', stage='untrained', bn=True),
            dict(
                title='(c) camera means subtracted',
                stage='untrained',
                camera_mean=True),
            camera_proxies,
            dict(
                title='camera-aware proxies, (c) camera means subtracted',
                camera_mean=True),
        ]),
    'all-identities': dict(
        title="camera-aware proxies of the paper's 751 identities",
        configs=of_market,
        cells=[
            dict(
                camera_proxies,
                title='camera-aware proxies of all identities',
                row='all-identities'),
            dict(
                title='of all identities, (c) camera means subtracted',
                row='all-identities',
                camera_mean=True),
        ]),
    'parts': dict(
        title='parts of the method',
        cells=[
            camera_proxies,
            *(
                dict(title=rows[row]['title'], row=row)
                for row in ('intra', 'camera-mean')
            ),
        ]),
}

# Whose numbers of the paper stand beside those of other networks and sizes.
stands_for = {
    config[:-3]: 'camera_proxies_r50_256x128_market1501'
    for config in of_market[1:]
}

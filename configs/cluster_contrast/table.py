# Rows and tables of Cluster Contrast.
# `python tools/reproduce.py cluster_contrast/table-1 --list` shows what is
# trained; `tools/train.py CONFIG.py:camera-aware` trains one row.
configs = [
    'cluster_contrast_r50_256x128_market1501.py',
    'cluster_contrast_r50_128x64_market1501.py',
    'cluster_contrast_osnet-x0-25_192x96_market1501.py',
    'cluster_contrast_osnet-x0-25-combineall_192x96_market1501.py',
    'cluster_contrast_osnet-x0-25-combineall_192x96_viper.py',
]

of_market = configs[:-1]
epsilons = [0.3, 0.5, 0.6, 0.7]

rows = {
    # Cameras in the clustering, in two ways that the paper lacks.
    'camera-mean': dict(
        title='camera means subtracted before clustering',
        configs=of_market,
        model=dict(camera_mean=True)),
    'camera-aware': dict(
        title='the camera-aware Jaccard distance',
        model=dict(
            clusterer=dict(
                _delete_=True,
                type='JaccardDBSCAN',
                eps=0.4,
                min_samples=4,
                camera_aware=True))),
    'wo_momentum': dict(
        title='each image replaces the vector of its cluster, m = 0',
        model=dict(memory=dict(momentum=0))),
    'fixed': dict(
        title="the clusters' vectors stay for an epoch, m = 1",
        model=dict(memory=dict(momentum=1))),
    **{
        f'eps-{eps}': dict(
            title=f'clusters of eps = {eps}',
            model=dict(clusterer=dict(eps=eps)))
        for eps in epsilons
    },
}


# What the target gives without any training.
controls = [
    dict(title='the weights as they are', stage='untrained'),
    dict(title='(a) BN of the target', stage='untrained', bn=True),
    dict(
        title='(c) camera means subtracted',
        stage='untrained',
        camera_mean=True),
    dict(
        title='(a), (c) camera means subtracted',
        stage='untrained',
        bn=True,
        camera_mean=True),
]
cluster_contrast = dict(
    title='Cluster Contrast',
    paper=dict(
        cluster_contrast_r50_256x128_market1501={
            'rank-1': 92.3,
            'mAP': 82.1,
        }))
experiments = {
    'table-1': dict(
        title='Cluster Contrast and its controls',
        cells=[
            *controls,
            cluster_contrast,
            dict(
                title='Cluster Contrast, (c) camera means subtracted',
                camera_mean=True),
        ]),
    'cameras': dict(
        title='cameras in the clustering',
        cells=[
            cluster_contrast,
            *(
                dict(title=rows[row]['title'], row=row)
                for row in ('camera-mean', 'camera-aware')
            ),
        ]),
    'memory': dict(
        title='the momentum of the memory',
        cells=[
            cluster_contrast,
            *(
                dict(title=rows[row]['title'], row=row)
                for row in ('wo_momentum', 'fixed')
            ),
        ]),
    'eps': dict(
        title='the largest distance of neighbours, eps',
        x='eps',
        cells=[
            dict(title=f'{eps}', x=eps, row='' if eps == 0.4 else f'eps-{eps}')
            for eps in sorted([*epsilons, 0.4])
        ]),
}

# Whose numbers of the paper stand beside those of other networks and sizes.
stands_for = {
    config[:-3]: 'cluster_contrast_r50_256x128_market1501'
    for config in of_market[1:]
}

# Rows and tables of SpCL.
# `python tools/reproduce.py spcl/table-1 --list` shows what is trained;
# `tools/train.py CONFIG.py:camera-mean` trains one row.
configs = [
    'spcl_r50_256x128_msmt17-market.py',
    'spcl_r50_128x64_cuhk-market.py',
    'spcl_osnet-x0-25_192x96_cuhk-market.py',
]

rows = {
    # Cameras in the clustering, which the paper lacks.
    'camera-mean': dict(
        title='camera means subtracted before clustering',
        model=dict(camera_mean=True)),
    'wo_self-pace': dict(
        title='every cluster stays, reliable or not',
        model=dict(
            clusterer=dict(
                _delete_=True,
                type='JaccardDBSCAN',
                eps='{{_base_.model.clusterer.eps}}',
                min_samples=4,
                k1=30,
                k2=6))),
    'eps-0.6': dict(
        title="eps = 0.6, the paper's",
        configs=['spcl_osnet-x0-25_192x96_cuhk-market.py'],
        model=dict(clusterer=dict(eps=0.6))),
}

spcl = dict(
    title='SpCL',
    paper={
        'spcl_r50_256x128_msmt17-market': {
            'rank-1': 89.7,
            'mAP': 77.5,
        }
    })
experiments = {
    'table-1': dict(
        title='SpCL and its controls',
        cells=[
            dict(title='the weights as they are', stage='untrained'),
            dict(title='(a) BN of the target', stage='untrained', bn=True),
            dict(
                title='(c) camera means subtracted',
                stage='untrained',
                camera_mean=True),
            spcl,
            dict(title='SpCL, (c) camera means subtracted', camera_mean=True),
        ]),
    'clusters': dict(
        title='which clusters stay',
        cells=[
            spcl,
            *(
                dict(title=rows[row]['title'], row=row)
                for row in ('camera-mean', 'wo_self-pace')
            ),
        ]),
    'eps': dict(
        title='the largest distance of neighbours, eps',
        configs=['spcl_osnet-x0-25_192x96_cuhk-market.py'],
        x='eps',
        cells=[
            dict(title='0.5', x=0.5),
            dict(title='0.6', x=0.6, row='eps-0.6'),
        ]),
}

# Whose numbers of the paper stand beside those on other images.
stands_for = {
    config[:-3]: 'spcl_r50_256x128_msmt17-market'
    for config in configs[1:]
}

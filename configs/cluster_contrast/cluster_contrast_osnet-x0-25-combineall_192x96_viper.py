# Cluster Contrast on VIPeR, whose persons have one image on each of two
# cameras. Each random half without labels is a target of 632 images:
# tools/run_splits.py.
_base_ = 'cluster_contrast_osnet-x0-25-combineall_192x96_market1501.py'

target = dict(
    _delete_=True, type='VIPeR', data_root='{{$MMREID_DATA:data}}/viper')

# A cluster is nearly always a pair of images, each the nearest of the other's
# camera once the cameras' means are subtracted.
model = dict(
    camera_mean=True,
    clusterer=dict(
        _delete_=True,
        type='JaccardDBSCAN',
        eps=0.4,
        min_samples=2,
        camera_aware=True,
        k1_intra=1,
        k1_inter=1,
        k2_intra=1,
        k2_inter=1))

train_cfg = dict(
    stages=dict(
        cluster=dict(
            sampler=dict(target=dict(num_instances=2)),
            epoch_length=None,  # one pass over the images
            max_epochs=20)))

# Labels of other data sets for a target too small to adapt to: OSNet x0.25
# from weights of all 4,101 persons of MSMT17
# (tools/model_converters/osnet_onnx_to_mmreid.py), below data/weights or the
# folder named by MMREID_WEIGHTS, learns those of three more. For two CPU cores
# (use --amp).
_base_ = [
    '../_base_/models/baseline_r50.py',
    '../_base_/datasets/market1501_cuhk_viper.py',
    '../_base_/loaders/reid_256x128.py',
    '../_base_/schedules/baseline_120e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(num_workers=1, pin_memory=False)
val_dataloader = dict(num_workers=1, pin_memory=False)
test_dataloader = dict(num_workers=1, pin_memory=False)

model = dict(
    channels_last=True,
    num_identities=2465,
    data_preprocessor=dict(
        # No erased rectangles: the paper finds that they help on the source's
        # cameras and cost on others (arXiv 1903.07071).
        augmentations=[dict(type='RandomFlipCrop', padding=10)]),
    backbone=dict(
        _delete_=True,
        type='LinearEndOSNet',
        width=0.25,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$MMREID_WEIGHTS:data/weights}}'
            '/osnet_x0_25_msmt17_4101ids.pth')))

train_cfg = dict(
    stages=dict(
        train=dict(
            max_epochs=None,
            max_iters=1880,  # five passes over 24,059 images
            param_scheduler=[
                dict(
                    type='OneCycleLR',
                    eta_max=3.5e-4,
                    by_epoch=False)
            ])))

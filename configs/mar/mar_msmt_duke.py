# MAR as in the paper: MSMT17 -> DukeMTMC-reID (withdrawn by its authors; for
# those who hold a copy).
_base_ = [
    '../_base_/models/mar_r50.py',
    '../_base_/datasets/msmt17_dukemtmc.py',
    '../_base_/loaders/mar_384x128.py',
    '../_base_/schedules/mar_20e.py',
    '../_base_/mar_runtime.py',
]

# Mean and standard deviation of each data set's own training images, RGB, as in
# the published code. Those of DukeMTMC-reID are measured on your copy.
model = dict(
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        measured_on='target',
        domains=dict(source={{_base_.msmt17_stats}}),
        bgr_to_rgb=True))

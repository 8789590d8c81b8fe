# MAR as in the paper: MSMT17 -> DukeMTMC-reID (withdrawn by its authors; for
# those who hold a copy).
_base_ = [
    '../_base_/models/mar_r50.py',
    '../_base_/datasets/msmt17_dukemtmc.py',
    '../_base_/schedules/mar_20e.py',
    '../_base_/mar_runtime.py',
]

# Mean and standard deviation of each data set's own training images, RGB, as in
# the published code. Those of DukeMTMC-reID are measured on your copy.
model = dict(
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        measured_on='target',
        domains=dict(
            source=dict(
                mean=(79.2386, 73.9793, 77.2493),
                std=(67.2012, 63.9191, 61.8367))),
        bgr_to_rgb=True))

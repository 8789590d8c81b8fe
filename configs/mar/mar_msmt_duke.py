# MAR as in the paper: MSMT17 -> DukeMTMC-reID (withdrawn by its authors; for
# those who hold a copy).
_base_ = [
    '../_base_/models/mar_r50.py',
    '../_base_/datasets/msmt17_dukemtmc.py',
    '../_base_/schedules/mar_20e.py',
    '../_base_/mar_runtime.py',
]

# The target's numbers are ImageNet's. The published code takes those of
# DukeMTMC-reID's own training images: tools/analysis_tools/image_stats.py
# prints them for your copy.
model = dict(
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        domains=dict(
            source=dict(
                mean=(79.2386, 73.9793, 77.2493),
                std=(67.2012, 63.9191, 61.8367))),
        bgr_to_rgb=True))

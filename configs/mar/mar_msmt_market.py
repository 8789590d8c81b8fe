# MAR as in the paper: MSMT17 -> Market-1501, ResNet-50, 384x128, 184 + 184
# images per batch, 20 epochs. Batch sizes are totals over all GPUs; batch
# norm sees 46 + 46 images on each of 4, as in the published code.
_base_ = [
    '../_base_/models/mar_r50.py',
    '../_base_/datasets/msmt17_market1501.py',
    '../_base_/loaders/mar_384x128.py',
    '../_base_/schedules/mar_20e.py',
    '../_base_/mar_runtime.py',
]

# Each domain by its own statistics.
model = dict(
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean={{_base_.market1501_stats.mean}},
        std={{_base_.market1501_stats.std}},
        domains=dict(source={{_base_.msmt17_stats}}),
        bgr_to_rgb=True))

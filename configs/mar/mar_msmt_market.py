# MAR as in the paper: MSMT17 -> Market-1501, ResNet-50, 384x128, 184 + 184
# images per batch, 20 epochs. Batch sizes are totals over all GPUs; batch
# norm sees 46 + 46 images on each of 4, as in the published code.
_base_ = [
    '../_base_/models/mar_r50.py',
    '../_base_/datasets/msmt17_market1501.py',
    '../_base_/schedules/mar_20e.py',
    '../_base_/mar_runtime.py',
]

# Mean and standard deviation of each data set's own training images, RGB.
model = dict(
    data_preprocessor=dict(
        type='ReIDDataPreprocessor',
        mean=(105.6896, 99.1306, 97.9125),
        std=(55.3543, 53.4009, 53.2279),
        domains=dict(
            source=dict(
                mean=(79.2386, 73.9793, 77.2493),
                std=(67.2012, 63.9191, 61.8367))),
        bgr_to_rgb=True))

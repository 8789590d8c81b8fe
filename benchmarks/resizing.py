"""Time of loading and resizing a crop, and how far the ways are apart.

    python benchmarks/resizing.py data/cuhk01 --size 128 64

Takes images of a folder, evenly spread over its sorted names. Beside
mmcv.Resize as the configs use it (OpenCV, bilinear) it runs Pillow's bicubic,
which is antialiased too but cuts the kernel off at the borders, and
MatlabResize. Differences are those of the result from MatlabResize's, in grey
levels; the sharpness is the mean absolute difference of neighbouring pixels.
Time is processor time, the files being in the memory of the operating system.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

import mmreid.datasets  # noqa: F401
from mmreid.registry import TRANSFORMS

LOAD = TRANSFORMS.build(dict(type='LoadReIDImage'))
SUFFIXES = {'.jpg', '.png', '.bmp'}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('folder', type=Path)
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(384, 128),
        metavar=('HEIGHT', 'WIDTH'),
    )
    parser.add_argument('--images', type=int, default=200)
    parser.add_argument('--rounds', type=int, default=5)
    return parser.parse_args()


def contenders(size: tuple[int, int]) -> dict:
    """The transforms by name."""
    resize = dict(type='mmcv.Resize', scale=tuple(size)[::-1])
    return {
        name: TRANSFORMS.build(cfg)
        for name, cfg in {
            'mmcv.Resize, OpenCV, bilinear': resize,
            'mmcv.Resize, Pillow, bicubic': dict(
                resize, backend='pillow', interpolation='bicubic'
            ),
            'MatlabResize': dict(resize, type='MatlabResize'),
        }.items()
    }


def milliseconds(steps: list, inputs: list[dict]) -> float:
    start = time.process_time()
    for item in inputs:
        results = dict(item)
        for step in steps:
            results = step(results)
    return 1000 * (time.process_time() - start) / len(inputs)


def sharpness(images: list[np.ndarray]) -> float:
    return statistics.fmean(
        float(np.abs(np.diff(image, axis=axis)).mean())
        for image in images
        for axis in (0, 1)
    )


def main() -> None:
    args = parse_args()
    files = sorted(
        path
        for path in args.folder.rglob('*')
        if path.suffix.lower() in SUFFIXES
    )
    if not files:
        raise SystemExit(f"error: no images below '{args.folder}'.")
    step = max(1, len(files) // args.images)
    paths = [dict(img_path=str(path)) for path in files[::step]][: args.images]
    loaded = [LOAD(dict(path)) for path in paths]
    sizes = sorted({item['img_shape'] for item in loaded})
    height, width = args.size
    found = f'{sizes[0]}' if len(sizes) == 1 else f'{sizes[0]} to {sizes[-1]}'
    print(
        f'{len(paths)} of {len(files)} images, (height, width) {found}, to '
        f'{height}x{width}.\n\n'
        '| transform | load + resize, ms: median (min-max) | resize, ms | '
        'mean difference | largest | sharpness |\n'
        '| --- | --: | --: | --: | --: | --: |'
    )
    transforms = contenders(args.size)
    times = {name: [] for name in transforms}
    for _ in range(args.rounds):
        for name, transform in transforms.items():
            times[name].append(
                (
                    milliseconds([LOAD, transform], paths),
                    milliseconds([transform], loaded),
                )
            )
    results = {
        name: [
            transform(dict(item))['img'].astype(np.int16) for item in loaded
        ]
        for name, transform in transforms.items()
    }
    for name, images in results.items():
        differences = [
            np.abs(image - other)
            for image, other in zip(
                images, results['MatlabResize'], strict=True
            )
        ]
        both, alone = zip(*times[name], strict=True)
        print(
            f'| {name} | {statistics.median(both):.2f} ({min(both):.2f}-'
            f'{max(both):.2f}) | {statistics.median(alone):.2f} | '
            f'{statistics.fmean(float(d.mean()) for d in differences):.2f} | '
            f'{max(int(d.max()) for d in differences)} | '
            f'{sharpness(images):.2f} |'
        )


if __name__ == '__main__':
    main()

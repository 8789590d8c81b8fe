"""Mean and standard deviation per channel of a data set's training images.

For ``data_preprocessor`` of a config: of 255, in RGB order, over all pixels
of the images as they lie on disk.
"""

import argparse

import cv2
import numpy as np
from mmengine.registry import init_default_scope

from mmreid.datasets import BaseReIDDataset
from mmreid.errors import InputError
from mmreid.registry import DATASETS
from mmreid.utils import exit_with_message


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('type', help='data set, e.g. Market1501')
    parser.add_argument(
        'data_root', help='its folder; of ReIDManifest, its file'
    )
    args = parser.parse_args()
    init_default_scope('mmreid')
    known = sorted(
        name
        for name, cls in DATASETS.module_dict.items()
        if issubclass(cls, BaseReIDDataset) and cls is not BaseReIDDataset
    )
    if args.type not in known:
        raise InputError(
            f"'{args.type}' is no data set of mmreid: {', '.join(known)}."
        )
    place = 'ann_file' if args.type == 'ReIDManifest' else 'data_root'
    dataset = DATASETS.build(
        {
            'type': args.type,
            place: args.data_root,
            'pipeline': [dict(type='LoadReIDImage')],
        }
    )
    total = square = count = 0
    for item in dataset:
        pixels = item['img'].reshape(-1, 3).astype(np.float64)
        total = total + pixels.sum(0)
        square = square + (pixels**2).sum(0)
        count += len(pixels)
    mean = total / count
    std = np.sqrt(square / count - mean**2)
    for name, values in (('mean', mean), ('std', std)):
        print(f'{name}=({", ".join(f"{v:.4f}" for v in values[::-1])})')


if __name__ == '__main__':
    cv2.setNumThreads(1)
    with exit_with_message():
        main()

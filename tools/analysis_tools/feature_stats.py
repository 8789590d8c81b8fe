"""How many dimensions a model's features really use.

Reads .npz files: features (N, D) as tools/extract.py writes it, or
query_features and gallery_features as tools/test.py --save-features does,
which count as one set of images.

The columns are those of mmreid.evaluation.feature_statistics.
"""

import argparse
import os.path as osp

import numpy as np
import torch

from mmreid.errors import InputError
from mmreid.evaluation import feature_statistics
from mmreid.utils import exit_with_message
from mmreid.utils.files import write_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('files', nargs='+', help='.npz files of features')
    parser.add_argument('--out', help='write the table to this JSON file')
    return parser.parse_args()


def read_features(path: str) -> np.ndarray:
    """The features of a file, (N, D).

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it holds no features of two images or more.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f"The features '{path}' do not exist.")
    try:
        # Without pickle, by which a file could run any code.
        with np.load(path, allow_pickle=False) as file:
            found = list(file)
            names = ['features']
            if 'features' not in file:
                names = ['query_features', 'gallery_features']
            arrays = [file[name] for name in names if name in found]
    # NumPy and zipfile raise what not at files that are something else.
    except Exception as error:
        raise InputError(
            f"'{path}' is no .npz file that can be read: write one by "
            'tools/extract.py, or by tools/test.py --save-features.'
        ) from error
    if len(arrays) < len(names):
        raise InputError(
            f"'{path}' must hold the array features, or query_features and "
            f'gallery_features, got {", ".join(found) or "none"}.'
        )
    for name, array in zip(names, arrays, strict=True):
        if array.ndim != 2 or array.dtype.kind != 'f':
            raise InputError(
                f"{name} of '{path}' must be floating point and (N, D), got "
                f'{array.dtype} of shape {array.shape}.'
            )
    lengths = [array.shape[1] for array in arrays]
    if len(set(lengths)) > 1:
        raise InputError(
            f"The features of '{path}' must have one length, got "
            f'{lengths[0]} for the query and {lengths[1]} for the gallery.'
        )
    features = np.concatenate(arrays)
    if len(features) < 2 or not np.isfinite(features).all():
        raise InputError(
            f"'{path}' must hold finite features of two images or more, got "
            f'{len(features)} images, of which '
            f'{np.isfinite(features).all(1).sum()} have finite ones.'
        )
    return features


def measure(path: str) -> dict:
    """A line of the table."""
    features = read_features(path)
    statistics = feature_statistics(torch.from_numpy(features))
    images, length = features.shape
    return dict(file=path, images=images, length=length, **statistics)


def print_table(rows: list[dict]) -> None:
    """One line per file."""
    width = max(len(row['file']) for row in rows)
    columns = [key for key in rows[0] if key != 'file']
    titles = [column.replace('_', ' ') for column in columns]
    print('  '.join([' ' * width, *titles]))
    for row in rows:
        cells = [row['file'].ljust(width)]
        for column, title in zip(columns, titles, strict=True):
            value = row[column]
            text = f'{value:.1f}' if isinstance(value, float) else str(value)
            cells.append(text.rjust(len(title)))
        print('  '.join(cells))


def main() -> None:
    args = parse_args()
    rows = [measure(path) for path in args.files]
    print_table(rows)
    if args.out:
        write_json(rows, args.out)


if __name__ == '__main__':
    with exit_with_message():
        main()

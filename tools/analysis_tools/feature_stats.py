"""How many dimensions a model's features really use.

Reads .npz files: features (N, D) as tools/extract.py writes it, or
query_features and gallery_features as tools/test.py --save-features does,
which count as one set of images.

    dead: dimensions whose standard deviation over the images is below 1e-6
        of the largest one: they are the same for every image.
    effective rank: exp(-sum_i p_i log p_i), p_i = l_i / sum_j l_j, with the
        eigenvalues l_i of the covariance of the features. Roy and Vetterli,
        "The effective rank: a measure of effective dimensionality", EUSIPCO
        2007, take the singular values of a matrix in their place.
    participation ratio: (sum_i l_i)^2 / sum_i l_i^2.

Both are D where all directions vary alike, and 1 where one alone varies.
"""

import argparse
import os.path as osp

import numpy as np

from mmreid.errors import InputError
from mmreid.utils import exit_with_message
from mmreid.utils.files import write_json

DEAD_BELOW = 1e-6


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


def measure(features: np.ndarray) -> dict:
    """The columns of the table but the file.

    Args:
        features (np.ndarray): (N, D).

    Returns:
        dict: Without the two ranks (None) if all images are the same.
    """
    features = features.astype(np.float64)
    features -= features.mean(0)
    std = features.std(0)
    row = dict(
        images=len(features),
        length=features.shape[1],
        dead=int((std <= DEAD_BELOW * std.max()).sum()),
        effective_rank=None,
        participation_ratio=None,
    )
    if std.max() > 0:
        eigenvalues = np.linalg.eigvalsh(features.T @ features)
        # Rounding leaves tiny ones below zero.
        share = eigenvalues.clip(0) / eigenvalues.clip(0).sum()
        used = share[share > 0]
        row.update(
            effective_rank=float(np.exp(-(used * np.log(used)).sum())),
            participation_ratio=float(1 / (share**2).sum()),
        )
    return row


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
            cells.append(('-' if value is None else text).rjust(len(title)))
        print('  '.join(cells))


def main() -> None:
    args = parse_args()
    rows = [
        dict(file=path, **measure(read_features(path))) for path in args.files
    ]
    print_table(rows)
    if args.out:
        write_json(rows, args.out)


if __name__ == '__main__':
    with exit_with_message():
        main()

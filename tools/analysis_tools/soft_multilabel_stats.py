"""Whether the log of soft multilabels is normal, per camera.

L_CML (Sec. 3.3, Eq. 6 of MAR) compares cameras by mean and standard deviation
of the log soft multilabels, for they "approximately follow a log-normal
distribution". Draws a histogram of the log entries of each camera's target
images and of all, with the normal distribution of the same mean and standard
deviation, and prints, and writes beside the picture as .json:

    skewness, kurtosis: 0 for a normal distribution (excess kurtosis).
    D: Kolmogorov-Smirnov distance to that normal distribution, 0 to 1. A
        p-value would only say that there are many entries.

First of all entries together, as in the picture; then of the entries of one
reference person, which are what Eq. 6 has a mean and a deviation of: medians
over the persons (of skewness and kurtosis, of the absolute values), and the
part of the persons for whom D'Agostino and Pearson's test does not reject the
normal distribution at 5 %.
"""

import argparse
import os.path as osp

import numpy as np
import torch
from scipy import special, stats

from mmreid.apis import extract, init_model, target_images
from mmreid.errors import InputError
from mmreid.models import MAR
from mmreid.utils import (
    add_model_arguments,
    exit_with_message,
    model_config,
    picture_path,
)
from mmreid.utils.files import write_json
from mmreid.utils.tables import print_table
from mmreid.visualization import Histogram, draw_histograms

BINS = 60
# Persons at a time, so that temporaries stay small.
PERSONS = 256
# What the test needs of each person.
MIN_IMAGES = 20
COLUMNS = dict(
    camera='camera',
    images='images',
    mean='mean',
    std='std',
    skewness='skewness',
    kurtosis='kurtosis',
    distance='D',
    person_skewness='one person: skewness',
    person_kurtosis='kurtosis',
    person_distance='D',
    person_normal='not rejected %',
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_arguments(
        parser,
        'path of a config of MAR',
        'path of a checkpoint',
        'take validation identities rather than the training images',
    )
    parser.add_argument(
        '--out',
        required=True,
        type=picture_path,
        help='picture to write; the table goes beside it as .json',
    )
    parser.add_argument('--title', help='headline (default: the config)')
    return parser.parse_args()


def normal_distance(values: np.ndarray) -> np.ndarray:
    """Kolmogorov-Smirnov distance of columns to their normal distributions.

    Args:
        values (np.ndarray): (N, K), none of the columns constant.

    Returns:
        np.ndarray: (K, ).
    """
    num = len(values)
    values = np.sort(values, axis=0)
    values -= values.mean(0)
    values /= values.std(0)
    expected = special.ndtr(values)
    steps = np.arange(num + 1)[:, None] / num
    return np.maximum(
        (steps[1:] - expected).max(0), (expected - steps[:-1]).max(0)
    )


def measure(log_soft_multilabel: np.ndarray) -> dict:
    """The columns of the table but the camera.

    Args:
        log_soft_multilabel (np.ndarray): (N, N_p).

    Returns:
        dict: ``person_normal`` is None of fewer than 20 images; all that is
        of one person is None of a single image.

    Raises:
        InputError: If all entries are the same.
    """
    entries = log_soft_multilabel.astype(np.float64).ravel()
    if not entries.std() > 1e-6:
        raise InputError(
            'All entries of the soft multilabels are the same, so there is '
            'no distribution to look at: the features have collapsed, or '
            'model.head.scale is 0.'
        )
    row = dict(
        images=len(log_soft_multilabel),
        mean=entries.mean(),
        std=entries.std(),
        skewness=stats.skew(entries),
        kurtosis=stats.kurtosis(entries),
        distance=normal_distance(entries[:, None])[0],
    )
    row = {key: float(value) for key, value in row.items()}
    row['images'] = len(log_soft_multilabel)
    row.update(dict.fromkeys([c for c in COLUMNS if c.startswith('person_')]))
    if len(log_soft_multilabel) == 1:
        return row
    found = []
    for start in range(0, log_soft_multilabel.shape[1], PERSONS):
        part = log_soft_multilabel[:, start : start + PERSONS]
        part = part.astype(np.float64)
        part = part[:, part.std(0) > 1e-6]
        enough = len(part) >= MIN_IMAGES
        p_value = stats.normaltest(part).pvalue if enough else np.nan
        found.append(
            np.stack(
                [
                    np.abs(stats.skew(part)),
                    np.abs(stats.kurtosis(part)),
                    normal_distance(part),
                    np.broadcast_to(p_value, part.shape[1]),
                ]
            )
        )
    *medians, p_value = np.concatenate(found, axis=1)
    names = ('person_skewness', 'person_kurtosis', 'person_distance')
    for name, values in zip(names, medians, strict=True):
        row[name] = float(np.median(values))
    if len(log_soft_multilabel) >= MIN_IMAGES:
        row['person_normal'] = float(100 * (p_value > 0.05).mean())
    return row


def histogram(row: dict, values: np.ndarray, edges: np.ndarray) -> Histogram:
    """The panel of a row of the table."""
    density, _ = np.histogram(values, edges, density=True)
    camera = row['camera']
    name = 'all cameras' if camera == 'all' else f'camera {camera}'
    return Histogram(
        f'{name}, {row["images"]} images',
        density,
        edges,
        row['mean'],
        row['std'],
        f'skewness {row["skewness"]:.2f}\nkurtosis {row["kurtosis"]:.2f}\n'
        f'D {row["distance"]:.3f}',
    )


@torch.inference_mode()
def main() -> None:
    args = parse_args()
    cfg = model_config(args)
    model = init_model(cfg, args.checkpoint, args.device)
    if not isinstance(model, MAR):
        raise InputError(
            f"'{args.config}' is one of {type(model).__name__}, which has no "
            'soft multilabels: name a config of MAR.'
        )
    dataset, domain = target_images(cfg, args.val)
    images = extract(model, dataset, domain)
    values = model.log_soft_multilabel(images.features).cpu().numpy()
    cameras = images.camera_id.cpu().numpy()
    parts = {str(c): values[cameras == c] for c in np.unique(cameras)}
    parts['all'] = values
    rows = [dict(camera=c, **measure(part)) for c, part in parts.items()]
    edges = np.linspace(values.min(), values.max(), BINS + 1)
    print(
        f'log soft multilabels of {len(images)} images and '
        f'{values.shape[1]} reference persons'
    )
    digits = dict(images='d', person_normal='.1f')
    print_table(COLUMNS, rows, digits, number='.3f')
    write_json(rows, f'{osp.splitext(args.out)[0]}.json')
    title = args.title or osp.splitext(osp.basename(cfg.filename))[0]
    draw_histograms(
        [
            histogram(row, part, edges)
            for row, part in zip(rows, parts.values(), strict=True)
        ],
        args.out,
        'log of a soft multilabel entry',
        title,
    )
    print(args.out)


if __name__ == '__main__':
    with exit_with_message():
        main()

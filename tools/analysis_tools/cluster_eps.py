"""Which eps of DBSCAN suits a target, without a label of it.

Clusters the training images of a config's target, by the features of a
checkpoint, with several eps, and prints how many clusters there are, in how
many of them images of several cameras are, and what part of the images is in
one. The eps with the most clusters of several cameras is named: below it
persons fall apart into outliers, above it they run together, and both make
clusters fewer. Where there is one camera, or none is known, all clusters
count.

With --quality it also prints how well the clusters fit the persons, for
targets whose labels exist. They have no part in the choice.
"""

import argparse

import numpy as np
import torch
from torch import Tensor

from mmreid.apis import extract, init_model, target_images
from mmreid.errors import InputError
from mmreid.evaluation import center_cameras, cluster_quality
from mmreid.models import ClusterReID, JaccardDBSCAN, SelfPacedDBSCAN
from mmreid.utils import (
    add_model_arguments,
    exit_with_message,
    model_config,
)
from mmreid.utils.files import write_json
from mmreid.utils.tables import print_table

EPS = tuple(np.arange(0.3, 0.71, 0.05).round(2).tolist())
COLUMNS = dict(
    eps='eps',
    clusters='clusters',
    several_cameras='of several cameras',
    clustered='images in one, %',
)
QUALITY = dict(
    purity='purity, %',
    pair_precision='pair precision, %',
    pair_recall='pair recall, %',
    pair_f1='pair F1, %',
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model_arguments(parser, 'path of a config of a cluster method')
    parser.add_argument(
        '--eps',
        type=float,
        nargs='+',
        default=EPS,
        help='largest distances of neighbours, in (0, 1) (default: 0.3 to '
        '0.7 by 0.05)',
    )
    parser.add_argument(
        '--quality',
        action='store_true',
        help="compare with the target's labels",
    )
    parser.add_argument('--out', help='write the table to this JSON file')
    return parser.parse_args()


def measure(labels: Tensor, camera_id: Tensor | None) -> dict:
    """The columns of the table but eps.

    Args:
        labels (Tensor): (N, ) int64, from 0; -1 for outliers.
        camera_id (Tensor, optional): (N, ).

    Returns:
        dict: ``several_cameras`` is None where no camera is known.
    """
    known = labels >= 0
    several = None
    if camera_id is not None:
        both = torch.stack([labels[known], camera_id.to(labels)[known]], 1)
        several = int((both.unique(dim=0)[:, 0].bincount() > 1).sum())
    return dict(
        clusters=len(labels[known].unique()),
        several_cameras=several,
        clustered=100 * known.float().mean().item(),
    )


def choose(rows: list[dict]) -> dict:
    """The row of the most clusters of several cameras.

    Of equals the one of the smallest eps; where no cluster has several
    cameras, the one of the most clusters.
    """
    rows = sorted(rows, key=lambda row: row['eps'])
    column = (
        'several_cameras'
        if any(row['several_cameras'] for row in rows)
        else 'clusters'
    )
    return max(rows, key=lambda row: row[column])


@torch.inference_mode()
def main() -> None:
    args = parse_args()
    wrong = [eps for eps in args.eps if not 0 < eps < 1]
    if wrong:
        raise InputError(f'--eps must be in (0, 1), but is {wrong[0]:g}.')
    cfg = model_config(args)
    model = init_model(cfg, args.checkpoint, args.device)
    clusterer = getattr(model, 'clusterer', None)
    if isinstance(clusterer, SelfPacedDBSCAN):
        clusterer = clusterer.dbscan
    if not isinstance(model, ClusterReID) or not isinstance(
        clusterer, JaccardDBSCAN
    ):
        raise InputError(
            f"'{args.config}' has no eps: name a config of a method whose "
            'model.clusterer is a JaccardDBSCAN or a SelfPacedDBSCAN.'
        )
    images = extract(model, *target_images(cfg))
    person_id, camera_id = images.person_id, images.camera_id
    if args.quality and person_id is None:
        raise InputError(
            f"--quality: the target of '{args.config}' has no labels."
        )
    if model.camera_mean:
        images = center_cameras(images)
    found = clusterer.labels_at(images, *args.eps)
    rows = []
    for eps, labels in zip(args.eps, found, strict=True):
        row = dict(eps=eps, **measure(labels, camera_id))
        if args.quality:
            row |= cluster_quality(labels, person_id.cpu())
        rows.append(row)
    columns = COLUMNS | (QUALITY if args.quality else {})
    digits = dict(eps='g', clusters='d', several_cameras='d')
    print(f'{len(images)} images, eps of the config: {clusterer.eps:g}')
    print_table(columns, rows, digits)
    best = choose(rows)
    if not best['clusters']:
        raise InputError(
            'There is no cluster with any eps: start from weights that know '
            'persons, or lower model.clusterer.min_samples.'
        )
    print(f'Most clusters: model.clusterer.eps={best["eps"]:g}')
    if args.out:
        write_json(rows, args.out)


if __name__ == '__main__':
    with exit_with_message():
        main()

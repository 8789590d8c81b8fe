"""Score features of anybody's model, without the model.

FEATURES is a .npz file with the arrays query_features (Q, D), query_ids (Q,),
query_cams (Q,), gallery_features (G, D), gallery_ids (G,) and gallery_cams
(G,). Without cameras, use --protocol no-cameras. For --camera-mean it also has
train_features (N, D) and train_cams (N,); --camera-mean gallery needs neither.
"""

import argparse
import os.path as osp

from mmreid.errors import InputError
from mmreid.utils import exit_with_message, picture_path, whole_number
from mmreid.utils.files import write_json
from mmreid.utils.provenance import provenance

from .evaluate import (
    Evaluation,
    add_evaluation_arguments,
    evaluation_options,
    format_table,
)
from .features import load_features, load_training_features
from .functional import verify


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m mmreid.evaluation',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('features', help='a .npz file')
    add_evaluation_arguments(parser)
    parser.add_argument('--out', help='write the metrics to this JSON file')
    parser.add_argument(
        '--per-query',
        metavar='FILE',
        help='write AP, INP, first rank and neighbours of each query to this '
        'JSON file (of several draws, the first)',
    )
    parser.add_argument(
        '--neighbours', type=whole_number(1), default=10, help='in --per-query'
    )
    parser.add_argument(
        '--roc',
        type=picture_path,
        metavar='PICTURE',
        help='draw the ROC and the histogram of distances, and print TPR@FPR '
        '(of several draws, the first)',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    evaluation = Evaluation(**evaluation_options(args))
    query, gallery = load_features(args.features)
    if query.camera_id is None and evaluation.protocol.camera_rule != 'none':
        raise InputError(
            f"'{args.features}' has no query_cams and gallery_cams, which the "
            f'protocol {evaluation.protocol.name} needs: add them, or use '
            '--protocol no-cameras.'
        )
    training = None
    if evaluation.camera_mean == 'train':
        training = load_training_features(args.features)
    # Ranked once for all: re-ranking takes long.
    trials = evaluation.trials(
        query,
        gallery,
        args.neighbours if args.per_query else 0,
        training=training,
    )
    first = next(trials)
    results = [first.result, *(trial.result for trial in trials)]
    metrics = evaluation.mean(results)
    print(
        f'{len(query)} query images, '
        f'{metrics["skipped_queries"]:g} queries without a match left out, '
        f'{len(gallery)} gallery images\n'
        f'{evaluation.title(gallery, training)}\n' + format_table(metrics)
    )
    if args.per_query:
        write_json(first.result.to_dict(), args.per_query)
    if args.roc:
        verification = verify(
            first.distance,
            first.query,
            first.gallery,
            camera_rule=evaluation.protocol.camera_rule,
        )
        for name, value in verification.summary().items():
            print(f'{name:<16}{value:9.2f}')
            metrics[name] = value
        # Only here, for matplotlib takes long to import.
        from mmreid.visualization import draw_verification

        draw_verification(
            verification, args.roc, title=osp.basename(args.features)
        )
    if args.out:
        made_by = dict(
            provenance(),
            feature_length=query.features.shape[1],
            evaluation=evaluation.title(gallery, training),
        )
        write_json(dict(metrics, provenance=made_by), args.out)


if __name__ == '__main__':
    with exit_with_message():
        main()

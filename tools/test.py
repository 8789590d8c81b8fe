"""Score a checkpoint on the test set of a config."""

import argparse

from mmreid.errors import InputError
from mmreid.evaluation import add_evaluation_arguments, evaluation_options
from mmreid.utils import (
    config_parser,
    exit_with_message,
    load_config,
    ranking_evaluators,
    use_validation,
)
from mmreid.utils.files import write_json
from mmreid.utils.provenance import provenance


def parse_args() -> argparse.Namespace:
    parser = config_parser(__doc__)
    parser.add_argument(
        'checkpoint',
        help="path of a checkpoint, or 'none': the weights that the config "
        'starts from',
    )
    parser.add_argument('--out', help='write the metrics to this JSON file')
    parser.add_argument(
        '--val',
        action='store_true',
        help='score the validation identities rather than the test set',
    )
    parser.add_argument(
        '--flip',
        action='store_true',
        help='score the mean of what an image and its mirror image give',
    )
    parser.add_argument(
        '--save-features',
        metavar='FILE',
        help='write the features to this .npz file, which python -m '
        'mmreid.evaluation scores again',
    )
    add_evaluation_arguments(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Not at the top: --help need not wait for it.
    from mmengine.dist import is_main_process

    from mmreid.apis.init_model import measure_images
    from mmreid.datasets.fingerprint import fingerprint
    from mmreid.engine import ReIDRunner
    from mmreid.engine.hooks.utils import algorithm_of
    from mmreid.evaluation.metrics import ReIDMetric

    cfg = load_config(args)
    # Of a config that a resumed run left in its work dir.
    cfg.resume = False
    cfg.load_from = None if args.checkpoint == 'none' else args.checkpoint
    if args.val:
        use_validation(cfg)
    if args.flip:
        cfg.model.flip_test = True
    options = evaluation_options(args)
    if args.save_features:
        options['save_features'] = args.save_features
    evaluators = ranking_evaluators(cfg)
    if options and not evaluators:
        raise InputError(
            f"'{args.config}' has no ReIDMetric in its evaluators, which "
            f'{", ".join(options)} would be for: add one, or leave them out.'
        )
    for evaluator in evaluators:
        evaluator.update(options)
    # Of a config that an earlier version left in a work dir.
    cfg.default_hooks.setdefault('camera_mean', dict(type='CameraMeanHook'))
    # Nothing of the training is needed, its data sets least of all.
    training = cfg.get('train_dataloader')
    for key in (
        'train_dataloader',
        'train_cfg',
        'optim_wrapper',
        'param_scheduler',
        'val_dataloader',
        'val_cfg',
        'val_evaluator',
    ):
        cfg.pop(key, None)
    cfg.custom_hooks = []
    runner = ReIDRunner.from_cfg(cfg)
    if not cfg.load_from:
        # MMEngine does it for a training only.
        runner._init_model_weights()
        measure_images(algorithm_of(runner), training)
    metrics = runner.test()
    if args.out and is_main_process():
        lengths = [
            metric.feature_length
            for metric in runner.test_evaluator.metrics
            if isinstance(metric, ReIDMetric)
        ]
        made_by = dict(
            provenance(),
            checkpoint=args.checkpoint,
            feature_length=lengths[0] if lengths else None,
            seed=runner.seed,
            data=fingerprint(runner.test_dataloader.dataset),
            config=cfg.to_dict(),
        )
        write_json(dict(metrics, provenance=made_by), args.out)


if __name__ == '__main__':
    with exit_with_message():
        main()

"""Score a checkpoint on the test set of a config."""

import argparse
import sys

import mmengine
from mmengine.runner import Runner

from mmreid.utils import config_parser, exit_with_message, load_config


def parse_args() -> argparse.Namespace:
    parser = config_parser(__doc__)
    parser.add_argument(
        'checkpoint', help="path of a checkpoint, or 'none': untrained"
    )
    parser.add_argument('--out', help='write the metrics to this JSON file')
    parser.add_argument(
        '--val',
        action='store_true',
        help='score the validation identities rather than the test set',
    )
    parser.add_argument(
        '--ap',
        choices=['standard', 'trapezoid', 'mar'],
        help="formula of the average precision (default: the config's)",
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    # Of a config that a resumed run left in its work dir.
    cfg.resume = False
    cfg.load_from = None if args.checkpoint == 'none' else args.checkpoint
    if args.val:
        if 'val_dataloader' not in cfg:
            raise ValueError(
                f"--val: '{args.config}' has no val_dataloader, that is no "
                'validation identities.'
            )
        cfg.test_dataloader = cfg.val_dataloader
        cfg.test_evaluator = cfg.val_evaluator
    if args.ap:
        evaluators = cfg.test_evaluator
        if isinstance(evaluators, dict):
            evaluators = [evaluators]
        for evaluator in evaluators:
            if evaluator.type == 'ReIDMetric':
                evaluator.ap = args.ap
    # Nothing of the training is needed, its data sets least of all.
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
    metrics = Runner.from_cfg(cfg).test()
    if args.out:
        mmengine.dump(metrics, args.out, indent=2)


if __name__ == '__main__':
    with exit_with_message():
        sys.exit(main())

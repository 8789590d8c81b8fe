"""Train all stages of a config."""

import argparse

from mmreid.utils import config_parser, exit_with_message, load_config


def parse_args() -> argparse.Namespace:
    parser = config_parser(__doc__)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint, or from the last one of the '
        'work dir if none is named',
    )
    parser.add_argument('--seed', type=int, help='seed of the run')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Not at the top: --help need not wait for PyTorch.
    from mmengine.runner import Runner, find_latest_checkpoint

    cfg = load_config(args)
    if args.seed is not None:
        cfg.randomness.seed = args.seed
    if args.resume == 'auto':
        # None if nothing is saved yet: the run then begins as configured.
        args.resume = find_latest_checkpoint(cfg.work_dir)
    if args.resume:
        cfg.resume = True
        cfg.load_from = args.resume
    Runner.from_cfg(cfg).train()


if __name__ == '__main__':
    with exit_with_message():
        main()

"""Train all stages of a config."""

import argparse

from mmreid.utils import (
    config_parser,
    exit_with_message,
    is_first_process,
    load_config,
    whole_number,
)


def parse_args() -> argparse.Namespace:
    parser = config_parser(__doc__)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint, or from the newest whole one of the '
        'work dir if none is named',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='remove the checkpoints of an earlier run in the work dir',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='try two iterations of every stage, and stop; leaves nothing',
    )
    parser.add_argument('--seed', type=whole_number(0), help='seed of the run')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # Not at the top: --help need not wait for PyTorch.
    from mmreid.engine import ReIDRunner
    from mmreid.utils.checkpoint import find_resumable
    from mmreid.utils.work_dir import claim_work_dir

    cfg = load_config(args)
    if args.seed is not None:
        cfg.randomness.seed = args.seed
    if args.dry_run:
        from mmreid.apis import dry_run

        report = dry_run(cfg)
        if is_first_process(args.launcher):
            print(f'{report}\nNothing is wrong with {cfg.filename}.')
        return
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    found = None
    if cfg.resume and not cfg.load_from:
        # Before a work dir is made.
        cfg.load_from, found = find_resumable(cfg.work_dir)
    if is_first_process(args.launcher):
        claim_work_dir(cfg.work_dir, cfg.resume, args.overwrite)
    runner = ReIDRunner.from_cfg(cfg)
    if found:
        runner.logger.info(found)
    runner.train()


if __name__ == '__main__':
    with exit_with_message():
        main()

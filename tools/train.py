"""Train all stages of a config."""

import argparse
import os
import os.path as osp
import sys

from mmengine.config import Config, DictAction
from mmengine.runner import Runner, find_latest_checkpoint

from mmreid.utils import exit_with_message, prepare_distributed


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of a config')
    parser.add_argument(
        '--work-dir',
        help='where logs and checkpoints go (default: work_dirs/<config>)',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint, or from the last one of the '
        'work dir if none is named',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='run the backbone in bfloat16, channels last',
    )
    parser.add_argument('--seed', type=int, help='seed of the run')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='settings that replace those of the config, key=value, e.g. '
        'train_cfg.stages.main.max_epochs=4 model.lambda1=0',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of a distributed run were started',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    cfg.merge_from_dict(args.cfg_options)
    cfg.work_dir = (
        args.work_dir
        or cfg.get('work_dir')
        or osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    )
    if args.amp:
        cfg.model.amp = True
    if args.seed is not None:
        cfg.randomness.seed = args.seed
    if args.resume == 'auto':
        # None if nothing is saved yet: the run then begins as configured.
        args.resume = find_latest_checkpoint(cfg.work_dir)
    if args.resume:
        cfg.resume = True
        cfg.load_from = args.resume
    prepare_distributed(cfg)
    Runner.from_cfg(cfg).train()


if __name__ == '__main__':
    with exit_with_message():
        sys.exit(main())

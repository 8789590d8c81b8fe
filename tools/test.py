"""Score a checkpoint on the test set of a config."""

import argparse
import os
import os.path as osp
import sys

import mmengine
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from mmreid.utils import exit_with_message, prepare_distributed


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of a config')
    parser.add_argument(
        'checkpoint', help="path of a checkpoint, or 'none': untrained"
    )
    parser.add_argument(
        '--work-dir',
        help='where the log goes (default: work_dirs/<config>)',
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
    parser.add_argument(
        '--amp',
        action='store_true',
        help='run the backbone in bfloat16, channels last',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='settings that replace those of the config, key=value',
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
    # Of a config that a resumed run left in its work dir.
    cfg.resume = False
    cfg.load_from = None if args.checkpoint == 'none' else args.checkpoint
    if args.amp:
        cfg.model.amp = True
    if args.val:
        if 'val_dataloader' not in cfg:
            raise ValueError(
                f"--val: '{args.config}' has no val_dataloader, that is no "
                'validation identities.'
            )
        cfg.test_dataloader = cfg.val_dataloader
        cfg.test_evaluator = cfg.val_evaluator
    if args.ap:
        cfg.test_evaluator.ap = args.ap
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
    prepare_distributed(cfg)
    metrics = Runner.from_cfg(cfg).test()
    if args.out:
        mmengine.dump(metrics, args.out, indent=2)


if __name__ == '__main__':
    with exit_with_message():
        sys.exit(main())

"""Adapt a model to each random split of a target, test, average.

The stages before the first one that reads the target are trained once, or come
as a checkpoint. Each split starts from it, trains the config's stages from
that one on with the split's training persons and is tested on the others.
Run it again after a kill: finished splits are kept, the one that was cut off
resumes.
"""

import argparse
import copy
import hashlib
import json
import os
import os.path as osp
import sys
import time
from datetime import timedelta

import numpy as np
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import DefaultScope

from mmreid.apis import adapt_bn
from mmreid.datasets.random_splits import (
    RandomSplitDataset,
    draw_random_splits,
)
from mmreid.engine import ReIDRunner
from mmreid.errors import InputError
from mmreid.registry import DATASETS, MODELS
from mmreid.utils import (
    config_parser,
    exit_with_message,
    is_first_process,
    load_config,
    ranking_evaluators,
    whole_number,
)
from mmreid.utils.checkpoint import RESUMABLE, files_of
from mmreid.utils.files import write_json
from mmreid.utils.provenance import provenance
from mmreid.utils.work_dir import claim_work_dir, keep, portable

DOMAIN = 'target'


def parse_args() -> argparse.Namespace:
    parser = config_parser(__doc__)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help="checkpoint of the stage before, stage_joint.pth, or 'none': the "
        'weights that the config starts from (default: train the stages '
        'before in <work-dir>/source)',
    )
    parser.add_argument('--splits', type=int, default=10, help='how many')
    parser.add_argument(
        '--split-seed', type=whole_number(0), default=0, help='of the splits'
    )
    parser.add_argument(
        '--seed', type=whole_number(0), help='of each training'
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        '--no-adapt',
        action='store_true',
        help='only test on each split: direct transfer',
    )
    how.add_argument(
        '--adapt-bn',
        action='store_true',
        help="only estimate the batch norms' statistics on each split's "
        'training images, and test: a control',
    )
    return parser.parse_args()


def target_configs(cfg: Config, adapt: bool) -> list[dict]:
    """The data sets of a config that take a split: tested, then trained."""
    keys = ['test_dataloader.dataset']
    if adapt:
        keys.append('train_dataloader.dataset.target')
    targets = []
    for key in keys:
        target = cfg
        for name in key.split('.'):
            target = (target or {}).get(name)
        kind = (target or {}).get('type')
        cls = DATASETS.get(kind) if isinstance(kind, str) else kind
        if not (isinstance(cls, type) and issubclass(cls, RandomSplitDataset)):
            raise InputError(
                f"The config's {key} is {kind}, which has no random splits: "
                'it must be VIPeR, PRID2011 or CUHK01.'
            )
        targets.append(target)
    return targets


def trains(args: argparse.Namespace) -> bool:
    """Whether anything is trained on a split."""
    return not (args.no_adapt or args.adapt_bn)


def check(cfg: Config, args: argparse.Namespace) -> None:
    """One sentence for what would fail later, or worse, not fail."""
    stages = (cfg.get('train_cfg') or {}).get('order', [])
    if trains(args) and adapting_stage(cfg) is None:
        raise InputError(
            f"'{args.config}' has no stage in train_cfg.order, which is "
            f'{list(stages)}, that reads the {DOMAIN}: name a config that '
            'adapts, or test without, --no-adapt.'
        )
    if args.checkpoint in (None, 'none'):
        return
    if not osp.isfile(args.checkpoint):
        raise FileNotFoundError(
            f"The checkpoint '{args.checkpoint}' does not exist."
        )


def adapting_stage(cfg: Config) -> str | None:
    """The first stage of a config that reads the target's images."""
    with DefaultScope.overwrite_default_scope('mmreid'):
        algorithm = MODELS.get(cfg.model.type)
    for stage in (cfg.get('train_cfg') or {}).get('order', []):
        if DOMAIN in algorithm.stages.get(stage, {}):
            return stage
    return None


def train_source(base: Config) -> str:
    """Train what comes before the adaptation, once for all splits.

    Returns:
        str: The checkpoint of its last stage.
    """
    cfg = copy.deepcopy(base)
    order, stage = cfg.train_cfg.order, adapting_stage(cfg)
    if stage in order:
        order = cfg.train_cfg.order = order[: order.index(stage)]
    if not order:
        raise InputError(
            f'The config has no stage before {stage!r}: name a checkpoint.'
        )
    cfg.work_dir = osp.join(base.work_dir, 'source')
    cfg.experiment_name = 'source'
    os.makedirs(cfg.work_dir, exist_ok=True)
    keep_settings(cfg, settings(cfg, cfg.get('load_from'), order))
    checkpoint = osp.join(cfg.work_dir, f'stage_{order[-1]}.pth')
    if not osp.isfile(checkpoint):
        resume(cfg)
        ReIDRunner.from_cfg(cfg).train()
    return checkpoint


def resume(cfg: Config) -> None:
    """Go on from the newest checkpoint of the work dir, if there is one."""
    if files_of(cfg.work_dir, *RESUMABLE):
        cfg.load_from, cfg.resume = None, True


def keep_settings(cfg: Config, content: dict) -> None:
    """Refuse a work dir in which something else was run."""
    keep(
        portable(content),
        osp.join(cfg.work_dir, 'settings.json'),
        'by a run with other settings',
    )


def settings(cfg: Config, start: str | None, stages: list[str]) -> dict:
    """What the weights depend on that a training reaches.

    Args:
        cfg (Config): The config.
        start (str, optional): The checkpoint that it starts from.
        stages (list[str]): What is trained; none if that is only tested.

    Returns:
        dict: Parts of the config, and the checkpoint by its content, for
        those of all runs have the same few names.
    """
    parts = cfg.to_dict()
    content = dict(
        checkpoint_sha256=start,
        seed=cfg.randomness.seed,
        model=parts['model'],
    )
    if osp.isfile(start or ''):
        with open(start, 'rb') as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        content['checkpoint_sha256'] = digest
    if stages:
        loop = parts['train_cfg']
        trained = {k: v for k, v in loop['stages'].items() if k in stages}
        content.update(
            train_cfg=dict(loop, order=stages, stages=trained),
            optim_wrapper=parts.get('optim_wrapper'),
            train_dataset=parts['train_dataloader']['dataset'],
        )
    return content


def run_split(base: Config, index: int, args: argparse.Namespace) -> dict:
    """Train and test one split, and give its metrics."""
    cfg = copy.deepcopy(base)
    for target in target_configs(cfg, not args.no_adapt):
        target.split_file = osp.join(base.work_dir, 'splits.json')
        target.split_index = index
    cfg.work_dir = split_dir(base, index)
    # MMEngine keys its log by the name, else by the second.
    cfg.experiment_name = f'split_{index}'
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.checkpoint == 'none':
        cfg.load_from = None
    # The last weights are tested: nothing is selected on any data.
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg.pop(key, None)
    if not trains(args):
        cfg.custom_hooks = []
        runner = ReIDRunner.from_cfg(cfg)
        if not cfg.load_from:
            # MMEngine does it for a training only.
            runner._init_model_weights()
        if args.adapt_bn:
            runner.load_or_resume()
            images = runner.train_loop.dataset.images(DOMAIN)
            batch_size = min(64, len(images))
            adapt_bn(runner.model, images, batch_size, seed=runner.seed)
        return runner.test()
    cfg.train_cfg.first_stage = adapting_stage(cfg)
    resume(cfg)
    runner = ReIDRunner.from_cfg(cfg)
    runner.train()
    return runner.test()


def split_dir(cfg: Config, index: int) -> str:
    return osp.join(cfg.work_dir, f'split_{index}')


def summary(rows: list[dict]) -> dict[str, dict]:
    """Mean, sample standard deviation and values of each metric."""
    return {
        name: dict(
            mean=float(np.mean([row[name] for row in rows])),
            # Not defined for a single split.
            std=float(np.std([row[name] for row in rows], ddof=1))
            if len(rows) > 1
            else None,
            splits=[row[name] for row in rows],
        )
        for name in rows[0]
    }


def print_table(title: str, metrics: dict[str, dict]) -> None:
    width = max(map(len, metrics))
    print(f'\n{title}\n{"":{width}}{"mean":>9}{"std":>9}')
    for name, values in metrics.items():
        std = '-' if values['std'] is None else f'{values["std"]:.2f}'
        print(f'{name:{width}}{values["mean"]:9.2f}{std:>9}')


def main() -> None:
    args = parse_args()
    cfg = load_config(args)
    if args.seed is not None:
        cfg.randomness.seed = args.seed
    check(cfg, args)
    target = target_configs(cfg, not args.no_adapt)[0]
    protocol = 'adapted anew per split'
    if not trains(args):
        protocol = 'not adapted'
    if args.adapt_bn:
        protocol = 'batch norms of each split'

    dataset = DATASETS.build(dict(target, pipeline=[], lazy_init=True))
    content = draw_random_splits(dataset, args.splits, args.split_seed)
    if is_first_process(args.launcher):
        # keep() and resume() see to it that nothing is overwritten.
        claim_work_dir(cfg.work_dir, resume=True)
    args.checkpoint = args.checkpoint or train_source(cfg)
    keep(
        content,
        osp.join(cfg.work_dir, 'splits.json'),
        'for other images, --splits or --split-seed',
    )
    keep_settings(
        cfg,
        dict(
            settings(
                cfg,
                args.checkpoint,
                cfg.train_cfg.order if trains(args) else [],
            ),
            protocol=protocol,
            test_dataset=cfg.test_dataloader.dataset,
            test_evaluator=cfg.test_evaluator,
        ),
    )

    files = [
        osp.join(split_dir(cfg, index), 'metrics.json')
        for index in range(args.splits)
    ]
    # Looked up before any rank can finish one, so that all agree.
    unfinished = [i for i, file in enumerate(files) if not osp.exists(file)]
    start = time.monotonic()
    for done, index in enumerate(unfinished, start=1):
        metrics = run_split(cfg, index, args)
        if is_main_process():
            write_json(metrics, files[index])
            each = (time.monotonic() - start) / done
            left = timedelta(seconds=round(each * (len(unfinished) - done)))
            print(
                f'Split {index + 1} of {args.splits} is done, {left} left.',
                file=sys.stderr,
            )
    if not is_main_process():
        return

    rows = []
    for path in files:
        with open(path, encoding='utf-8') as file:
            rows.append(json.load(file))
    metrics = summary(rows)
    name = content['dataset']
    # CUHK01 is tested in two ways, whose numbers do not compare.
    shots = {k: content[k] for k in ['shots'] if k in content}
    means = {
        k: evaluator[k]
        for evaluator in ranking_evaluators(cfg)
        for k in ['camera_mean']
        if evaluator.get(k)
    }
    results = dict(
        protocol=protocol,
        dataset=name,
        **shots,
        **means,
        num_splits=args.splits,
        split_seed=args.split_seed,
        seed=cfg.randomness.seed,
        std='sample standard deviation (ddof=1) over the splits',
        metrics=metrics,
        provenance=provenance(),
    )
    write_json(results, osp.join(cfg.work_dir, 'results.json'))
    title = ', '.join(
        [
            name,
            *(f'{kind}-shot' for kind in shots.values()),
            protocol,
            *(f'camera means ({kind}) subtracted' for kind in means.values()),
        ]
    )
    print_table(
        f'{title}: mean and sample standard deviation (ddof=1) '
        f'over {args.splits} random splits (seed {args.split_seed})',
        metrics,
    )


if __name__ == '__main__':
    with exit_with_message():
        main()

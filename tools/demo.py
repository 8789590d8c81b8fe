"""Draw pedestrians, train MAR on them and compare it with its controls.

Ends with a table and with a picture of the rank lists. Nothing is downloaded;
nobody in the pictures exists.
"""

import argparse
import os.path as osp
import sys
import time

import mmengine
import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from mmreid.apis import adapt_bn
from mmreid.datasets.synthetic import write_benchmark
from mmreid.evaluation import top_neighbours
from mmreid.utils import exit_with_message
from mmreid.visualization import draw_rank_list

CONFIG = osp.join(osp.dirname(__file__), '../configs/mar/mar_demo.py')
COLUMNS = ('rank-1', 'rank-5', 'rank-10', 'mAP')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', default=CONFIG)
    parser.add_argument('--work-dir', default='work_dirs/demo')
    parser.add_argument(
        '--data-dir', help='where to draw (default: <work-dir>/data)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the training')
    parser.add_argument(
        '--smoke',
        action='store_true',
        help='few people and iterations: shows that it runs, no more',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='settings that replace those of the config, key=value',
    )
    return parser.parse_args()


def load_config(args: argparse.Namespace) -> Config:
    """The demo's config, reading the data drawn for it."""
    cfg = Config.fromfile(args.config)
    cfg.work_dir = args.work_dir
    cfg.launcher = 'none'
    cfg.randomness.seed = args.seed
    data_dir = args.data_dir or osp.join(args.work_dir, 'data')
    people = dict(source_ids=cfg.model.head.num_agents)
    if args.smoke:
        people = dict(source_ids=40, target_train_ids=30, target_test_ids=20)
        cfg.model.head.num_agents = people['source_ids']
        stages = cfg.train_cfg.stages
        stages.pretrain.max_epochs = 3
        stages.main.max_iters = 10
        stages.main.batch_size = dict(source=32, target=64)
    print(f'Drawing pedestrians in {data_dir} ...', flush=True)
    write_benchmark(data_dir, **people)
    dataset = cfg.train_dataloader.dataset
    for part in (
        dataset.source,
        dataset.target,
        cfg.test_dataloader.dataset,
        *(hook.dataset for hook in cfg.custom_hooks),
    ):
        part.data_root = data_dir
    cfg.merge_from_dict(args.cfg_options)
    return cfg


def without_mining(cfg: Config) -> Config:
    """The control that trains with everything but L_MDL."""
    cfg = cfg.copy()
    cfg.load_from = osp.join(cfg.work_dir, 'stage_pretrain.pth')
    cfg.work_dir = osp.join(cfg.work_dir, 'without_mdl')
    cfg.train_cfg.first_stage = 'main'
    cfg.model.miner = None
    cfg.custom_hooks = []
    cfg.experiment_name = 'without_mdl'
    return cfg


@torch.no_grad()
def draw_examples(runner: Runner, out_file: str, num: int = 8) -> None:
    """Rank lists of queries spread over the query set."""
    runner.model.eval()
    dataset = runner.test_dataloader.dataset
    outputs = [
        runner.model.test_step(batch)[0] for batch in runner.test_dataloader
    ]
    merged = {
        key: torch.cat([output[key] for output in outputs]).cpu()
        for key in ('features', 'person_id', 'camera_id', 'is_query')
    }
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    query = merged['is_query'].nonzero().flatten()
    gallery = (merged['is_query'] == 0).nonzero().flatten()
    query = query[torch.linspace(0, len(query) - 1, num).long()]
    ids, cameras = merged['person_id'], merged['camera_id']
    neighbours = top_neighbours(
        merged['features'][query],
        merged['features'][gallery],
        ids[query],
        ids[gallery],
        cameras[query],
        cameras[gallery],
    )
    draw_rank_list(
        [paths[i] for i in query],
        [paths[i] for i in gallery],
        neighbours,
        ids[query],
        ids[gallery],
        out_file,
        cameras[query],
        cameras[gallery],
        title='MAR on the embedded pedestrians, cameras without labels',
    )


def print_table(rows: dict[str, dict]) -> None:
    """One line per model, in percent."""
    width = max(map(len, rows))
    print(f'\n{"":{width}}  ' + ''.join(f'{name:>9}' for name in COLUMNS))
    for name, metrics in rows.items():
        values = ''.join(f'{metrics[column]:9.1f}' for column in COLUMNS)
        print(f'{name:{width}}  {values}')


def main() -> None:
    args = parse_args()
    begin = time.time()
    cfg = load_config(args)
    runner = Runner.from_cfg(cfg)
    untrained = runner.model.state_dict()
    untrained = {key: value.clone() for key, value in untrained.items()}
    runner.train()

    mar_weights = osp.join(cfg.work_dir, 'stage_main.pth')
    source_weights = osp.join(cfg.work_dir, 'stage_pretrain.pth')
    control = Runner.from_cfg(without_mining(cfg))
    control.train()

    without_mdl = control.test()
    runner.load_checkpoint(source_weights)
    source_only = runner.test()
    dataset = runner.train_loop.dataset
    adapt_bn(runner.model, dataset, dataset.domains['target'], seed=args.seed)
    adapted = runner.test()
    runner.load_checkpoint(mar_weights)
    mar = runner.test()
    draw_examples(runner, osp.join(cfg.work_dir, 'rank_list.png'))
    runner.model.load_state_dict(untrained, strict=False)
    rows = {
        'untrained': runner.test(),
        'source only': source_only,
        'source only, BN of the target (control)': adapted,
        'MAR without L_MDL (control)': without_mdl,
        'MAR': mar,
    }
    print_table(rows)
    mmengine.dump(rows, osp.join(cfg.work_dir, 'results.json'), indent=2)
    print(
        f'\nSeed {args.seed}, AP formula "standard", '
        f'{time.time() - begin:.0f} s. '
        f'Rank lists: {osp.join(cfg.work_dir, "rank_list.png")}'
    )


if __name__ == '__main__':
    with exit_with_message():
        sys.exit(main())

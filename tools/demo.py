"""Draw pedestrians, train a method on them and compare it with its controls.

Ends with a table and with a picture of the rank lists. Nothing is downloaded;
nobody in the pictures exists.
"""

import argparse
import contextlib
import copy
import os
import os.path as osp
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context

import torch
from mmengine.config import Config, DictAction

from mmreid.apis import adapt_bn, extract
from mmreid.engine import ReIDRunner
from mmreid.evaluation import rank_queries
from mmreid.synthetic import (
    DOMAINS,
    write_benchmark,
    write_dukemtmc,
    write_market1501,
)
from mmreid.utils import exit_with_message, read_config
from mmreid.utils.files import write_json
from mmreid.utils.provenance import provenance
from mmreid.utils.work_dir import claim_work_dir
from mmreid.visualization import draw_rank_list

CONFIG = osp.join(osp.dirname(__file__), '../configs/mar/mar_demo.py')
COLUMNS = ('rank-1', 'rank-5', 'rank-10', 'mAP')
# The settings were chosen on the people of seed 0: these are others.
DRAWING_SEED = 1
# On 100 persons, chance in the scoring hides differences of two percent.
NUM_TEST = 300


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
    cfg = read_config(args.config)
    cfg.work_dir = args.work_dir
    cfg.launcher = 'none'
    cfg.randomness.seed = args.seed
    # Its runs are its own: it makes them anew.
    claim_work_dir(cfg.work_dir, resume=True)
    data_dir = args.data_dir or osp.join(args.work_dir, 'data')
    print(f'Drawing pedestrians in {data_dir} ...', flush=True)
    draw = draw_for_mar if cfg.model.type == 'MAR' else draw_for_tj_aidl
    draw(cfg, data_dir, args.smoke)
    cfg.train_dataloader.dataset.target.data_root = data_dir
    cfg.test_dataloader.dataset.data_root = data_dir
    if args.smoke:
        for stage in cfg.train_cfg.stages.values():
            stage.pop('max_epochs', None)
            stage.max_iters = 10
            for domain in stage.batch_size:
                stage.batch_size[domain] = 48
            stage.pop('param_scheduler', None)
    cfg.merge_from_dict(args.cfg_options)
    return cfg


def draw_for_mar(cfg: Config, data_dir: str, smoke: bool) -> None:
    """A labelled source in MSMT17's layout, a target in Market-1501's."""
    num_test = 20 if smoke else NUM_TEST
    num_train = cfg.model.head.num_agents = 40 if smoke else 600
    write_benchmark(data_dir, DRAWING_SEED, num_train, num_train, num_test)
    cfg.train_dataloader.dataset.source.data_root = data_dir


def draw_for_tj_aidl(cfg: Config, data_dir: str, smoke: bool) -> None:
    """A source in DukeMTMC-reID's layout, which has attributes."""
    num_train = cfg.model.num_identities = 40 if smoke else 600
    counts = dict(
        num_train_ids=num_train,
        num_test_ids=20 if smoke else NUM_TEST,
        images_per_camera=1,
        seed=DRAWING_SEED,
    )
    source = cfg.train_dataloader.dataset.source
    source.data_root = write_dukemtmc(data_dir, DOMAINS['source'], **counts)
    source.attribute_file = osp.join(source.data_root, 'duke_attribute.mat')
    write_market1501(data_dir, DOMAINS['target'], **counts)


def branch_off(
    cfg: Config,
    name: str,
    folder: str = '',
    load_from: str | None = None,
    **train_cfg,
) -> Config:
    """A copy for a run of its own."""
    cfg = copy.deepcopy(cfg)
    cfg.experiment_name = name
    cfg.work_dir = osp.join(cfg.work_dir, folder)
    cfg.load_from = load_from
    cfg.train_cfg.update(train_cfg)
    return cfg


def start_worker(num_threads: int) -> None:
    """Prepare a process of the pool."""
    torch.set_num_threads(num_threads)


def train_and_test(cfg: Config, quiet: bool) -> dict[str, float]:
    """Train, and score the weights that come out."""
    with contextlib.ExitStack() as stack:
        if quiet:
            nowhere = stack.enter_context(open(os.devnull, 'w'))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        runner = ReIDRunner.from_cfg(cfg)
        runner.train()
        return runner.test()


def side_by_side(
    pool: Executor, first: Config, second: Config
) -> list[dict[str, float]]:
    """Train two at once, the first one on the console.

    On networks this small, two processes with half of the threads each take
    less time than all threads for one after the other.
    """
    print(
        f'Training side by side: {first.experiment_name}, shown here, and '
        f'{second.experiment_name}, with its log in {second.work_dir}.',
        flush=True,
    )
    return list(pool.map(train_and_test, (first, second), (False, True)))


def test_bn_of_target(runner: ReIDRunner) -> dict[str, float]:
    """Metrics with the target's statistics in the batch norms."""
    target = runner.train_loop.dataset.images('target')
    adapt_bn(runner.model, target, seed=runner.seed)
    return runner.test()


def train_mar(
    cfg: Config, runner: ReIDRunner, pool: Executor
) -> dict[str, dict]:
    """MAR with its controls: metrics per row of the table."""
    source_weights = osp.join(cfg.work_dir, 'stage_pretrain.pth')
    pretrain = branch_off(cfg, 'pretraining', order=['pretrain'])
    ReIDRunner.from_cfg(pretrain).train()
    mar = branch_off(cfg, 'MAR', '', source_weights, first_stage='main')
    # Not a shorter order: the same stage gets the same batches as MAR's.
    control = branch_off(
        cfg,
        'MAR without L_MDL',
        'without_mdl',
        source_weights,
        first_stage='main',
    )
    control.model.miner = None
    control.default_hooks.pair_mining.purity = False
    mar, without_mdl = side_by_side(pool, mar, control)
    runner.load_checkpoint(source_weights)
    return {
        'source only': runner.test(),
        'source only, BN of the target (control)': test_bn_of_target(runner),
        'MAR without L_MDL (control)': without_mdl,
        'MAR': mar,
    }


def train_tj_aidl(
    cfg: Config, runner: ReIDRunner, pool: Executor
) -> dict[str, dict]:
    """TJ-AIDL with the rows of the paper's Tables 2, 3 and 4."""
    alone = cfg.train_cfg.stages.identity  # as long for every network
    identity = branch_off(cfg, 'the identity branch', order=['identity'])
    identity.model.retrieval_feature = 'identity'
    shared = branch_off(
        cfg,
        'joint supervision',
        'joint_supervision',
        order=['joint'],
        stages=dict(joint=alone),
    )
    shared.model.type = 'JointSupervision'
    for key in ('head', 'loss_rec', 'loss_id_transfer', 'soft_labels'):
        shared.model.pop(key)
    identity, shared = side_by_side(pool, identity, shared)

    identity_weights = osp.join(cfg.work_dir, 'stage_identity.pth')
    tj_aidl = branch_off(
        cfg, 'TJ-AIDL', '', identity_weights, first_stage='joint'
    )
    # Keeps the identity branch as it is.
    apart = branch_off(
        cfg,
        'the attribute branch alone',
        'independent',
        identity_weights,
        order=['attribute'],
        stages=dict(attribute=alone),
    )
    tj_aidl, attribute = side_by_side(pool, tj_aidl, apart)
    runner.load_checkpoint(osp.join(apart.work_dir, 'stage_attribute.pth'))
    deployed = runner.model.retrieval_feature
    runner.model.retrieval_feature = 'concatenated'
    independent = runner.test()
    runner.model.retrieval_feature = deployed
    runner.load_checkpoint(osp.join(cfg.work_dir, 'stage_joint.pth'))
    return {
        'attribute only': attribute,
        'identity only': identity,
        'independent supervision': independent,
        'joint supervision': shared,
        'TJ-AIDL without adaptation': runner.test(),
        'the same, BN of the target (control)': test_bn_of_target(runner),
        'TJ-AIDL': tj_aidl,
    }


def draw_examples(
    runner: ReIDRunner, out_file: str, title: str, num: int = 8
) -> None:
    """Rank lists of queries spread over the query set."""
    loader = runner.test_dataloader
    infos = [
        loader.dataset.get_data_info(i) for i in range(len(loader.dataset))
    ]
    is_query = torch.tensor([info['is_query'] for info in infos])
    images = extract(
        runner.model, loader.dataset, batch_size=loader.batch_size
    ).to('cpu')
    gallery, query = images.take(is_query == 0), images.take(is_query != 0)
    query = query.take(torch.linspace(0, len(query) - 1, num).long())
    ranked = rank_queries(query, gallery, num_neighbours=10)
    draw_rank_list(
        query,
        gallery,
        ranked.neighbours,
        out_file,
        title=f'{title} on the embedded pedestrians, cameras without labels',
    )


def print_table(rows: dict[str, dict]) -> None:
    """One line per model, in percent."""
    width = max(map(len, rows))
    print(f'\n{"":{width}}  ' + ''.join(f'{name:>9}' for name in COLUMNS))
    for name, metrics in rows.items():
        values = ''.join(f'{metrics[column]:9.1f}' for column in COLUMNS)
        print(f'{name:{width}}  {values}')


# How a method is trained with its controls, and its name.
METHODS = dict(MAR=(train_mar, 'MAR'), TJAIDL=(train_tj_aidl, 'TJ-AIDL'))


def main() -> None:
    args = parse_args()
    begin = time.time()
    cfg = load_config(args)
    runner = ReIDRunner.from_cfg(cfg)
    # Before anything is trained; the copy is what the training starts from.
    untrained = copy.deepcopy(runner.model.state_dict())
    train, title = METHODS[cfg.model.type]
    # Not forked: this process has threads.
    with ProcessPoolExecutor(
        2,
        get_context('spawn'),
        start_worker,
        (max(1, torch.get_num_threads() // 2),),
    ) as pool:
        rows = train(cfg, runner, pool)
    last = cfg.train_cfg.order[-1]
    runner.load_checkpoint(osp.join(cfg.work_dir, f'stage_{last}.pth'))
    picture = osp.join(cfg.work_dir, 'rank_list.png')
    draw_examples(runner, picture, title)
    runner.model.load_state_dict(untrained, strict=False)
    rows = {'untrained': runner.test(), **rows}
    print_table(rows)
    write_json(
        dict(rows=rows, seed=args.seed, provenance=provenance()),
        osp.join(cfg.work_dir, 'results.json'),
    )
    print(
        f'\nSeed {args.seed}, AP formula "standard", '
        f'{time.time() - begin:.0f} s. Rank lists: {picture}'
    )


if __name__ == '__main__':
    with exit_with_message():
        main()

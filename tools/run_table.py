"""Train and test the rows of a table, one after the other.

A row is a main config with some changes; configs/mar/table.py has those of
MAR's paper. Run it again after a kill: finished rows are kept, the one that
was cut off resumes. Ends with a table, also in <work-dir>/<table>.md and
.json.
"""

import argparse
import fnmatch
import json
import os.path as osp
import subprocess
import sys

import mmengine
import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope

import mmreid.datasets  # noqa: F401 (registers them)
from mmreid.datasets.random_splits import RandomSplitDataset
from mmreid.errors import InputError
from mmreid.registry import DATASETS
from mmreid.utils import (
    Row,
    config_parser,
    exit_with_message,
    load_table,
    read_config,
    unknown_row,
)
from mmreid.utils.checkpoint import RESUMABLE, files_of
from mmreid.utils.files import whole_file, write_json

COLUMNS = ('rank-1', 'rank-5', 'rank-10', 'mAP')
TOOLS = osp.dirname(osp.abspath(__file__))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Each row has a work dir of its own, <work-dir>/<row>. VIPeR '
        'and PRID-2011 are scored by tools/run_splits.py on ten splits.',
    )
    parser.add_argument('table', help='such as configs/mar/table.py')
    parser.add_argument(
        'rows',
        nargs='*',
        help="names or patterns, e.g. mar_msmt_market_wo_cml '*_market*' "
        '(default: all)',
    )
    parser.add_argument(
        '--list', action='store_true', help='only show what would be run'
    )
    parser.add_argument('--work-dir', default='work_dirs')
    parser.add_argument(
        '--seeds',
        nargs='+',
        type=int,
        help='train each row with each of them, in <row>/seed_<n> (default: '
        "the config's seed)",
    )
    # As tools/train.py and tools/test.py take them.
    parser.add_argument('--amp', action='store_true')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE')
    return parser.parse_args()


def choose(table: dict[str, Row], args: argparse.Namespace) -> list[Row]:
    """The rows that the arguments name, in the table's order."""
    chosen = set(table if not args.rows else ())
    for pattern in args.rows:
        found = fnmatch.filter(table, pattern)
        if not found:
            raise InputError(unknown_row(args.table, pattern, table))
        chosen.update(found)
    return [row for name, row in table.items() if name in chosen]


def needs_splits(cfg: Config) -> bool:
    """Whether the test set is scored on random splits."""
    with DefaultScope.overwrite_default_scope('mmreid'):
        cls = DATASETS.get(cfg.test_dataloader.dataset.type)
    return issubclass(cls, RandomSplitDataset)


def call(tool: str, *arguments: str) -> None:
    """Run a tool: in its own process, which gives all memory back."""
    subprocess.run(
        [sys.executable, osp.join(TOOLS, tool), *arguments], check=True
    )


def run(row: Row, seed: int | None, args: argparse.Namespace) -> dict:
    """Train and test a row, unless that was done.

    Returns:
        dict[str, float]: Its metrics.
    """
    work_dir = osp.join(args.work_dir, row.name)
    if seed is not None:
        work_dir = osp.join(work_dir, f'seed_{seed}')
    options = ['--amp'] * args.amp
    if args.cfg_options:
        options += ['--cfg-options', *args.cfg_options]
    settings = dict(changes=row.overrides, seed=seed, options=options)
    keep_settings(settings, osp.join(work_dir, 'row.json'))

    common = [row.argument, '--work-dir', work_dir, *options]
    # The config as the tools will see it.
    cfg = read_config(
        row.argument, config_parser('').parse_args(common).cfg_options
    )
    order = cfg.train_cfg.order
    with_seed = [] if seed is None else ['--seed', str(seed)]
    if needs_splits(cfg):
        # Keeps what is finished by itself.
        no_adapt = [] if 'adapt' in order else ['--no-adapt']
        call('run_splits.py', *common, *with_seed, *no_adapt)
        results = mmengine.load(osp.join(work_dir, 'results.json'))
        return {k: v['mean'] for k, v in results['metrics'].items()}

    checkpoint = osp.join(work_dir, f'stage_{order[-1]}.pth')
    metrics = osp.join(work_dir, 'metrics.json')
    if not osp.isfile(checkpoint):
        begun = files_of(work_dir, *RESUMABLE)
        call('train.py', *common, *with_seed, *['--resume'][: len(begun)])
    if not osp.isfile(metrics):
        # Before the options: --cfg-options takes all that follows it.
        call(
            'test.py', row.argument, checkpoint, '--out', metrics, *common[1:]
        )
    found = mmengine.load(metrics)
    # It stays in the row's own file.
    del found['provenance']
    return found


def keep_settings(settings: dict, path: str) -> None:
    """Refuse a work dir in which the row was run otherwise."""
    settings = json.loads(json.dumps(settings))
    if not osp.isfile(path):
        write_json(settings, path)
    elif (found := mmengine.load(path)) != settings:
        raise InputError(
            f"'{path}' says that the row was run with {found}, not with "
            f'{settings}: name another --work-dir.'
        )


def markdown(results: list[dict]) -> str:
    """The table: per row the mean over its seeds, and the deviation."""
    lines = [
        f'| row | | {" | ".join(COLUMNS)} |',
        '|---' * (2 + len(COLUMNS)) + '|',
    ]
    for result in results:
        cells = []
        for column in COLUMNS:
            values = [metrics[column] for metrics in result['metrics']]
            cell = f'{np.mean(values):.1f}'
            if len(values) > 1:
                cell += f' ± {np.std(values, ddof=1):.1f}'
            cells.append(cell)
        lines.append(
            f'| {result["row"]} | {result["title"]} | {" | ".join(cells)} |'
        )
    return '\n'.join(lines) + '\n'


def main() -> None:
    args = parse_args()
    rows = choose(load_table(args.table), args)
    if args.list:
        for row in rows:
            print(f'{row.name}\n    {row.title}\n    {row.argument}')
            if row.overrides:
                print(f'    {row.overrides}')
        return
    results, failed = [], []
    seeds = args.seeds or [None]
    for row in rows:
        print(f'\n{row.name}: {row.title}', flush=True)
        try:
            metrics = [run(row, seed, args) for seed in seeds]
        except subprocess.CalledProcessError:
            # Hours of other rows are worth more than stopping here.
            failed.append(row.name)
            continue
        results.append(
            dict(row=row.name, title=row.title, seeds=seeds, metrics=metrics)
        )
    # The part of a table that was run is a table of its own.
    folder, name = osp.split(osp.abspath(args.table))
    stem = osp.join(args.work_dir, f'{osp.basename(folder)}_{name[:-3]}')
    write_json(results, f'{stem}.json')
    with whole_file(f'{stem}.md', 'w') as file:
        file.write(markdown(results))
    print(f'\n{markdown(results)}\n{stem}.md')
    if failed:
        raise InputError(f'These rows failed, see above: {", ".join(failed)}.')


if __name__ == '__main__':
    with exit_with_message():
        main()

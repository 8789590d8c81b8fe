"""Make a table or a figure of a paper: train what it takes, score, report.

NAME is METHOD/EXPERIMENT, such as mar/table-3 or tj_aidl/fig-4, or
METHOD/rows, every row of METHOD's table.py. METHOD is a folder of configs/,
or any folder with a table.py. Ends with a Markdown table, the same as JSON,
and a plot, in <work-dir>/<experiment>_<config>.*. Run it again after a kill:
finished cells are kept, what was cut off resumes.
"""

import argparse
import contextlib
import copy
import fnmatch
import itertools
import json
import os
import os.path as osp
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import mmengine
from mmengine.config import Config
from mmengine.registry import DefaultScope

import mmreid.synthetic
from mmreid.datasets.random_splits import (
    RandomSplitDataset,
    draw_random_splits,
)
from mmreid.engine.hooks.interruption_hook import EXIT_STATUS
from mmreid.errors import InputError
from mmreid.registry import DATASETS, MODELS
from mmreid.utils import (
    Row,
    config_parser,
    exit_with_message,
    ranking_evaluators,
    read_config,
    use_validation,
    whole_number,
)
from mmreid.utils.checkpoint import RESUMABLE, files_of
from mmreid.utils.experiment import Cell, Experiment, load_experiment
from mmreid.utils.files import whole_file, write_json
from mmreid.utils.package_files import CONFIGS
from mmreid.utils.provenance import provenance
from mmreid.utils.record import (
    OF_LINE,
    digest,
    read_record,
    statistics,
    update_record,
)
from mmreid.utils.work_dir import keep, portable

TOOLS = osp.dirname(osp.abspath(__file__))
UNTRAINED = 'untrained'
# Settings were chosen on the pedestrians of 0.
DRAWING_SEED = 1
# An image costs a training three times what it costs an evaluation.
BACKWARD = 3


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('name', help='METHOD/EXPERIMENT')
    parser.add_argument(
        '--config',
        help="the main config's name, such as mar_demo (default: the paper's)",
    )
    parser.add_argument(
        '--cells',
        nargs='+',
        metavar='PATTERN',
        help="only these lines, by title or row, e.g. MAR 'wo_*'",
    )
    parser.add_argument(
        '--seeds', nargs='+', type=whole_number(0), default=[0]
    )
    parser.add_argument(
        '--val',
        action='store_true',
        help='score the validation identities rather than the test set',
    )
    parser.add_argument('--amp', action='store_true')
    parser.add_argument(
        '--jobs',
        type=whole_number(1),
        default=1,
        help='how many trainings at once, which share the cores',
    )
    parser.add_argument('--work-dir', default='work_dirs/reproduce')
    parser.add_argument(
        '--drawing-seed',
        type=whole_number(0),
        default=DRAWING_SEED,
        help='of the embedded pedestrians; settings were chosen on 0',
    )
    parser.add_argument(
        '--smoke',
        action='store_true',
        help='few embedded pedestrians and iterations: shows that it runs',
    )
    parser.add_argument(
        '--list', action='store_true', help='only show what would be run'
    )
    parser.add_argument(
        '--record',
        metavar='FILE',
        help='also write what is there to this JSON file, beside the seeds '
        'that it has, without names of machines and folders',
    )
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE')
    return parser.parse_args()


def read_experiment(args: argparse.Namespace) -> Experiment:
    """The experiment that the arguments name, with the cells they name."""
    method, _, name = args.name.rpartition('/')
    places = (method, osp.join('configs', method), osp.join(CONFIGS, method))
    found = [p for p in places if osp.isfile(osp.join(p, 'table.py'))]
    if not method or not found:
        raise InputError(
            f"'{args.name}' must be METHOD/EXPERIMENT, such as mar/table-3, "
            'METHOD being a folder of configs/, or one with a table.py.'
        )
    experiment = load_experiment(found[0], name, args.config)
    if args.cells:
        titles = {cell.title for cell, _ in experiment.cells}
        rows = {cell.row for cell, _ in experiment.cells}
        for pattern in args.cells:
            if not fnmatch.filter(titles | rows, pattern):
                raise InputError(
                    f"'{args.name}' has no cell '{pattern}'; it has "
                    f'{", ".join(cell.title for cell, _ in experiment.cells)}.'
                )
        experiment.cells = [
            (cell, row)
            for cell, row in experiment.cells
            if any(
                fnmatch.fnmatch(cell.title, p) or fnmatch.fnmatch(cell.row, p)
                for p in args.cells
            )
        ]
    return experiment


def draw(
    experiment: Experiment, args: argparse.Namespace
) -> tuple[list[str], list[str]]:
    """Draw the embedded data, and give the settings that name them.

    Returns:
        tuple[list[str], list[str]]: Those of every tool, and further ones of
        the tools that make pictures.
    """
    embedded = experiment.embedded
    if not embedded:
        if args.smoke:
            raise InputError(
                f"--smoke: the data of '{experiment.config}' are not drawn."
            )
        return [], []
    folder = f'embedded_{args.drawing_seed}' + '_smoke' * args.smoke
    root = osp.join(args.work_dir, folder)
    part = embedded['smoke'] if args.smoke else embedded
    if not args.list:
        print(f'Drawing pedestrians in {root} ...', flush=True)
        write = getattr(mmreid.synthetic, embedded['write'])
        write(root, args.drawing_seed, **part['data'])

    def named(roots: dict) -> list[str]:
        return [
            f'{key}={osp.join(root, end) if end else root}'
            for key, end in roots.items()
        ]

    options = [f'{k}={v}' for k, v in part.get('options', {}).items()]
    return (
        named(embedded['roots']) + options,
        named(embedded.get('tool_roots', {})),
    )


@dataclass
class Task:
    """A call of a tool that leaves a file.

    Attributes:
        title (str): For the console.
        file (str): What it leaves.
        command (list[str]): What is run.
        needs (list[Task]): What has to be there before. Defaults to nothing.
        cost (float): In images. Defaults to 0.
        uses_up (str, optional): A file of one of ``needs`` that nobody wants
            afterwards. Defaults to None.
    """

    title: str
    file: str
    command: list[str]
    needs: list['Task'] = field(default_factory=list)
    cost: float = 0
    uses_up: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took, with all that it needed; None: not known."""
        try:
            with open(f'{self.file}.seconds', encoding='utf-8') as file:
                own = float(file.read())
        except FileNotFoundError:
            return None
        needed = [need.seconds for need in self.needs]
        return None if None in needed else own + sum(needed)

    @property
    def level(self) -> int:
        return max((1 + need.level for need in self.needs), default=0)

    @property
    def done(self) -> bool:
        return osp.isfile(self.file)


def of(cell: Cell) -> Cell:
    """What a cell scores, without what it is called."""
    return replace(cell, title='', x=None, paper={})


class Plan:
    """What an experiment trains and scores.

    Args:
        experiment (Experiment): The experiment.
        args (argparse.Namespace): The tool's arguments.
        drawn (list[str]): Settings that name the embedded data, KEY=VALUE, of
            the configs that have a place for them.
        tool_options (Sequence[str]): Further ones of the tools that make
            pictures. Defaults to none.
    """

    def __init__(
        self,
        experiment: Experiment,
        args: argparse.Namespace,
        drawn: list[str],
        tool_options: Sequence[str] = (),
    ) -> None:
        self.args = args
        self.drawn = drawn
        self.tool_options = tool_options
        self.rows = experiment.table
        self.scored_features = [of(cell) for cell, _ in experiment.cells]
        self.main = self.rows[experiment.config]
        self._configs: dict[str, Config] = {}
        self._options: dict[str, list[str]] = {}
        self._datasets: dict[tuple[str, ...], str] = {}
        self._tasks: dict[str, Task] = {}

    def config(self, row: Row) -> Config:
        """A row's config, as the tools will see it."""
        if row.name not in self._configs:
            options = self.options(row)
            cfg = self._read(row, options)
            if self.args.smoke:
                cfg = self._read(row, options + smoke_options(cfg))
            self._configs[row.name] = cfg
        return self._configs[row.name]

    def options(self, row: Row) -> list[str]:
        """Settings of every tool, KEY=VALUE.

        Those that the user gave for the main config count for another
        method's where it has a place for them, too.
        """
        if row.name not in self._options:
            given = self.args.cfg_options or []
            if row.base:
                given = known_options(row, given)
            self._options[row.name] = known_options(row, self.drawn) + given
        return self._options[row.name]

    @staticmethod
    def _read(row: Row, options: list[str]) -> Config:
        arguments = [row.argument]
        if options:
            arguments += ['--cfg-options', *options]
        parsed = config_parser('').parse_args(arguments)
        return read_config(row.argument, parsed.cfg_options)

    def scored(self, row: Row) -> Config:
        """A row's config, whose test part is what is scored.

        Raises:
            InputError: If it has none.
        """
        cfg = copy.deepcopy(self.config(row))
        if 'test_dataloader' not in cfg:
            raise InputError(
                f"'{row.argument}' has no test set, so nothing can be scored."
            )
        if self.args.val:
            use_validation(cfg)
        return cfg

    def dataset(self, cell: Cell, row: Row) -> str:
        """The type of the data set that a cell scores."""
        options = [f'{key}={value}' for key, value in cell.options.items()]
        # Once, and not at each report.
        key = (row.name, *options)
        if key not in self._datasets:
            cfg = self._read(row, self.options(row) + options)
            if self.args.val:
                use_validation(cfg)
            self._datasets[key] = cfg.test_dataloader.dataset.type
        return self._datasets[key]

    def order(self, row: Row) -> list[str]:
        return list(self.config(row).train_cfg.order)

    def chain(self, row: Row, stage: str) -> list[tuple[Row, str]]:
        """What is trained up to a stage, in order, and by whose config.

        The main config trains the stages up to the row's 'after'.
        """
        order, shared = self.order(row), []
        if row.after is not None:
            of_main = self.order(self.main)
            if row.after not in of_main:
                raise InputError(
                    f"The row '{row.name}' says after='{row.after}', which is "
                    f'no stage of {self.main.name}: {", ".join(of_main)}.'
                )
            shared = of_main[: of_main.index(row.after) + 1]
        if stage not in order:
            raise InputError(
                f"'{row.argument}' trains {', '.join(order)}, not '{stage}'."
            )
        before = [(self.main, name) for name in shared]
        own = order[: order.index(stage) + 1]
        if row.base:  # its stages are others, even of the same name
            return before + [(row, name) for name in own]
        return [(self.main if name in shared else row, name) for name in own]

    def folder(self, row: Row, seed: int) -> str:
        return osp.join(self.args.work_dir, row.name, f'seed_{seed}')

    def common(self, row: Row, *options: str) -> list[str]:
        """Arguments of every tool."""
        options = [*self.options(row), *options]
        if self.args.smoke:
            options += smoke_options(self.config(row))
        amp = ['--amp'] * self.args.amp
        # Last: it takes all that follows.
        return amp + (['--cfg-options', *options] if options else [])

    def splits(self, row: Row) -> bool:
        """Whether the test set is scored on random splits."""
        dataset = self.scored(row).test_dataloader.dataset
        with DefaultScope.overwrite_default_scope('mmreid'):
            cls = DATASETS.get(dataset.type)
        return issubclass(cls, RandomSplitDataset)

    def per_split(self, row: Row, stage: str) -> bool:
        """Whether a stage is trained anew for each random split."""
        if not self.splits(row):
            return False
        with DefaultScope.overwrite_default_scope('mmreid'):
            algorithm = MODELS.get(self.config(row).model.type)
        return 'target' in algorithm.stages.get(stage, {})

    def training(self, row: Row, seed: int, stage: str) -> Task:
        """The task that leaves a stage's checkpoint."""
        *before, (row, _) = self.chain(row, stage)
        self.keep_settings(row, seed)
        folder = osp.join(self.folder(row, seed), stage)
        file = osp.join(folder, f'stage_{stage}.pth')
        if file in self._tasks:
            return self._tasks[file]
        order = self.order(row)
        index = order.index(stage)
        options, needs = [f'train_cfg.order={order[: index + 1]}'], []
        if index:
            options += [f'train_cfg.first_stage={stage}']
        if before:
            last, name = before[-1]
            needs = [self.training(last, seed, name)]
            options += [f'load_from={needs[0].file}']
        resume = ['--resume'] * bool(files_of(folder, *RESUMABLE))
        self._tasks[file] = Task(
            f'{row.name}, seed {seed}: training {stage}',
            file,
            tool('train.py')
            + [row.argument, '--work-dir', folder, '--seed', str(seed)]
            + resume
            + self.common(row, *options),
            needs,
            num_images(self.config(row), stage) * BACKWARD,
        )
        return self._tasks[file]

    def batch_norms(self, trained: list[Task], row: Row, seed: int) -> Task:
        """The task that leaves a checkpoint with the target's statistics.

        Without a training, of the weights that the config starts from.
        """
        checkpoint, file = (
            'none',
            osp.join(self.folder(row, seed), f'{UNTRAINED}_bn.pth'),
        )
        if trained:
            checkpoint = trained[0].file
            file = f'{checkpoint[:-4]}_bn.pth'
        if file not in self._tasks:
            domains = self.config(row).train_dataloader.dataset
            self._tasks[file] = Task(
                f'{row.name}, seed {seed}: BN of the target',
                file,
                tool('analysis_tools/adapt_bn.py')
                + [row.argument, checkpoint, file, '--seed', str(seed)]
                + self.common(row),
                trained,
                len_of(domains.target),
            )
        return self._tasks[file]

    def scoring(self, cell: Cell, row: Row, seed: int) -> Task:
        """The task that leaves a cell's metrics, or its picture."""
        order = self.order(row)
        stage = cell.stage or order[-1]
        self.keep_settings(row, seed)
        per_split = stage != UNTRAINED and self.per_split(row, stage)
        needs, checkpoint = [], 'none'
        if stage != UNTRAINED:
            trained = self.chain(row, stage)
            if per_split:
                trained.pop()
            if trained:
                last, name = trained[-1]
                needs = [self.training(last, seed, name)]
                checkpoint = needs[0].file
        file = osp.join(self.folder(row, seed), self.key(cell, stage))
        options = [f'{k}={v}' for k, v in cell.options.items()]
        if per_split and (cell.tool or cell.whole):
            raise InputError(
                f"'{row.argument}' trains '{stage}' anew for each random "
                f"split, so there is no one checkpoint for '{cell.title}'."
            )
        if cell.tool:
            file += '.png'
            entries = [row.argument, checkpoint]
            for shown, trained in cell.panels.items():
                name, _, of = trained.partition(':')
                name = f'{self.main.name}_{name}' if name else self.main.name
                panel = self.training(self.rows[name], seed, of)
                needs.append(panel)
                entries.append(f'{self.main.config}:{shown}:{panel.file}')
            command = tool(f'analysis_tools/{cell.tool}.py')
            if cell.log:
                command += [osp.dirname(checkpoint), file]
            else:
                command += [*entries, '--out', file]
                command += ['--val'] * self.args.val
                command += self.common(row, *self.tool_options, *options)
        elif self.splits(row) and not cell.whole:
            folder = f'{file}_splits'
            file = osp.join(folder, 'results.json')
            how = []
            if cell.bn:
                how = ['--adapt-bn']
            elif not per_split:
                how = ['--no-adapt']
            options += ['test_evaluator.camera_mean=train'] * cell.camera_mean
            command = tool('run_splits.py')
            command += [row.argument, checkpoint, '--work-dir', folder]
            command += ['--seed', str(seed), *how]
            command += self.common(row, *options)
        else:
            if cell.bn:
                needs = [self.batch_norms(needs, row, seed)]
                checkpoint = needs[0].file
            file += '.json'
            less_means = replace(cell, camera_mean=True)
            if not cell.camera_mean and self.has(less_means):
                again = self.scoring_again(cell, less_means, row, seed, file)
                if again:
                    return again
            command = tool('test.py')
            command += [row.argument, checkpoint, '--out', file]
            command += ['--work-dir', f'{file[:-5]}_test']
            command += ['--val'] * self.args.val
            if cell.camera_mean:
                command += ['--camera-mean']
                if self.has(replace(cell, camera_mean=False)):
                    command += ['--save-features', f'{file[:-5]}.npz']
            command += self.common(row, f'randomness.seed={seed}', *options)
        return Task(
            f'{row.name}, seed {seed}: {cell.title}',
            file,
            command,
            needs,
            len_of(self.scored(row).test_dataloader.dataset),
        )

    def has(self, cell: Cell) -> bool:
        """Whether the experiment scores the same as a cell."""
        return of(cell) in self.scored_features

    def scoring_again(
        self, cell: Cell, less_means: Cell, row: Row, seed: int, file: str
    ) -> Task | None:
        """Score what another cell extracts, before its means are subtracted.

        None if it has to be extracted for this cell alone.
        """
        before = self.scoring(less_means, row, seed)
        features = f'{osp.splitext(before.file)[0]}.npz'
        if before.done and not osp.isfile(features):
            return None
        ranking = dict(ranking_evaluators(self.scored(row))[0])
        ranking.pop('type')
        command = [sys.executable, '-m', 'mmreid.evaluation', features]
        for name in ('metric', 'ap', 'protocol', 'ties'):
            if name in ranking:
                command += [f'--{name}', str(ranking.pop(name))]
        if 'topk' in ranking:
            command += ['--topk', *map(str, ranking.pop('topk'))]
        if ranking:  # what that tool would have to be told otherwise
            return None
        command += ['--out', file]
        title = f'{row.name}, seed {seed}: {cell.title}'
        return Task(title, file, command, [before], uses_up=features)

    def key(self, cell: Cell, stage: str) -> str:
        """A name for what is scored, among all scores of a row."""
        parts = [stage]
        parts += ['bn'] * cell.bn
        parts += ['camera-mean'] * cell.camera_mean
        parts += ['whole'] * cell.whole
        parts += [
            re.sub(
                r'[^\w.-]',
                '-',
                f'{key.rpartition(".")[2]}-{osp.basename(str(value))}',
            )
            for key, value in cell.options.items()
        ]
        parts += [cell.tool] if cell.tool else []
        parts += ['val'] * self.args.val
        return '_'.join(parts)

    def settings(self, row: Row) -> dict:
        """What tells a training and its scores from another's."""
        cfg = self.config(row).to_dict()
        names = (
            *('model', 'train_cfg', 'optim_wrapper', 'train_dataloader'),
            *('test_dataloader', 'test_evaluator', 'default_hooks'),
        )
        content = {name: cfg.get(name) for name in names}
        return portable(dict(content, amp=self.args.amp))

    def keep_settings(self, row: Row, seed: int) -> None:
        """Refuse a folder in which the row was run otherwise."""
        keep(
            dict(self.settings(row), seed=seed),
            osp.join(self.folder(row, seed), 'settings.json'),
            'by a run with other settings',
        )

    def stages(self, cell: Cell, row: Row) -> str:
        """What a cell's weights were trained on, as 'stage iterations'."""
        order = self.order(row)
        stage = cell.stage or order[-1]
        if stage == UNTRAINED:
            return '-'
        return ', '.join(
            f'{name} {iterations(self.config(owner), name)}'
            for owner, name in self.chain(row, stage)
        )


def tool(name: str) -> list[str]:
    return [sys.executable, osp.join(TOOLS, name)]


def known_options(row: Row, options: list[str]) -> list[str]:
    """Those KEY=VALUE for which a row's config has a place."""
    cfg = row.load().to_dict()

    def known(option: str) -> bool:
        part = cfg
        for key in option.partition('=')[0].split('.')[:-1]:
            if not isinstance(part, dict) or key not in part:
                return False
            part = part[key]
        return True

    return [option for option in options if known(option)]


def smoke_options(cfg: Config) -> list[str]:
    """As --smoke asks: ten iterations of each stage, of small batches."""
    options = []
    for name, stage in cfg.train_cfg.stages.items():
        prefix = f'train_cfg.stages.{name}'
        options += [f'{prefix}.max_epochs=None', f'{prefix}.max_iters=10']
        options += [f'{prefix}.param_scheduler=[]']
        options += [
            f'{prefix}.batch_size.{domain}=48' for domain in stage.batch_size
        ]
    return options


_lengths: dict[str, int] = {}


def len_of(dataset: dict, of_split: bool = False) -> int:
    """How many images a data set has.

    Args:
        dataset (dict): Config of the data set.
        of_split (bool): Count the training images of a random split, where
            the data set is tested on these. Defaults to False.

    Raises:
        FileNotFoundError: If it is not there.
    """
    key = json.dumps([dataset, of_split], sort_keys=True, default=str)
    if key not in _lengths:
        with DefaultScope.overwrite_default_scope('mmreid'):
            built = DATASETS.build(dict(dataset, pipeline=[]))
        if of_split and isinstance(built, RandomSplitDataset):
            _lengths[key] = draw_random_splits(built, 1)['counts']['train']
        else:
            _lengths[key] = len(built)
    return _lengths[key]


def len_of_domain(cfg: Config, domain: str) -> int:
    """How many training images a domain has, see :func:`len_of`.

    A target with random splits is trained on one at a time.
    """
    sets = cfg.train_dataloader.dataset[domain]
    sets = sets if isinstance(sets, list | tuple) else [sets]
    return sum(len_of(dict(part), domain == 'target') for part in sets)


def iterations(cfg: Config, name: str) -> int:
    """The iterations of a stage.

    Raises:
        FileNotFoundError: If a data set that it reads is not there.
    """
    stage = cfg.train_cfg.stages[name]
    # All of them, also where the length of a pass does not matter.
    lengths = {d: len_of_domain(cfg, d) for d in stage.batch_size}
    if stage.get('max_iters'):
        return stage.max_iters
    if stage.get('epoch_length'):
        return stage.max_epochs * stage.epoch_length
    domain = 'source' if 'source' in lengths else 'target'
    return stage.max_epochs * (lengths[domain] // stage.batch_size[domain])


def num_images(cfg: Config, name: str) -> int:
    """The images that a stage trains on."""
    batch = sum(cfg.train_cfg.stages[name].batch_size.values())
    return iterations(cfg, name) * batch


class Console:
    """Says how far the work is, and how long it will take.

    Args:
        tasks (list[Task]): All of it.
    """

    def __init__(self, tasks: list[Task]) -> None:
        self.left = [task for task in tasks if not task.done]
        self.total = len(self.left)
        self.start, self.finished, self.begun = time.monotonic(), 0.0, 0
        kept = len(tasks) - self.total
        print(
            f'{self.total} trainings and scores to make'
            + f', {kept} are there.' * bool(kept),
            flush=True,
        )

    def begin(self, task: Task) -> None:
        self.begun += 1
        print(f'[{self.begun}/{self.total}] {task.title}', flush=True)

    def end(self, task: Task, seconds: float) -> None:
        self.left = [other for other in self.left if other is not task]
        self.finished += task.cost
        spent = time.monotonic() - self.start
        ahead = sum(other.cost for other in self.left)
        text = f'{task.title}: done in {timedelta(seconds=round(seconds))}'
        if self.finished and ahead:
            left = round(spent / self.finished * ahead)
            text += f', about {timedelta(seconds=left)} left'
        print(f'{text}.', flush=True)


class Runner:
    """Runs tasks, some of them at once.

    Args:
        jobs (int): How many at once.
        console (Console): Told of each.
    """

    def __init__(self, jobs: int, console: Console) -> None:
        self.jobs, self.console = jobs, console
        self.failed: list[str] = []
        self.asked = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Let what runs save and end when this process is asked to."""

        def ask(*_: object) -> None:
            self.asked = True

        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, ask) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def run(self, tasks: list[Task]) -> None:
        """Run tasks of which none needs another."""
        width = min(self.jobs, len(tasks))
        threads = max(1, (os.cpu_count() or 1) // max(width, 1))
        waiting = []
        for task in tasks:
            if task.done:
                continue
            if all(need.done for need in task.needs):
                waiting.append(task)
            else:
                self.failed.append(task.title)
        active: list[tuple] = []
        while waiting or active:
            while waiting and len(active) < width:
                task = waiting.pop(0)
                # The first one is shown, the others keep a log.
                shown = all(log for *_, log in active)
                log = None if shown else f'{osp.splitext(task.file)[0]}.log'
                self.console.begin(task)
                process = self.call(task.command, log, threads)
                active.append((task, process, time.monotonic(), log))
            time.sleep(0.2)
            if self.asked:
                self.stop([process for _, process, *_ in active])
            for entry in list(active):
                task, process, start, log = entry
                if process.poll() is None:
                    continue
                active.remove(entry)
                if process.returncode == EXIT_STATUS:
                    self.stop([process for _, process, *_ in active])
                if process.returncode == 0 and task.done:
                    if task.uses_up:
                        os.remove(task.uses_up)
                    seconds = time.monotonic() - start
                    with whole_file(f'{task.file}.seconds', 'w') as file:
                        file.write(f'{seconds:.0f}')
                    self.console.end(task, seconds)
                else:
                    self.failed.append(task.title)
                    where = f', see {log}' if log else ''
                    print(f'{task.title}: failed{where}.', flush=True)

    def call(
        self, command: list[str], log: str | None, threads: int
    ) -> subprocess.Popen:
        env = dict(os.environ)
        if self.jobs > 1:
            env['OMP_NUM_THREADS'] = str(threads)
        streams = contextlib.nullcontext()
        if log:
            os.makedirs(osp.dirname(log), exist_ok=True)
            streams = open(log, 'a')
        with streams as file:
            # A session of its own, which a terminal's Ctrl-C does not reach:
            # a second signal would end a training without saving.
            return subprocess.Popen(
                command,
                env=env,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def stop(self, running: list[subprocess.Popen]) -> None:
        """End with what runs: each saves, and is gone on from next time."""
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()
        print('Interrupted: run the same command to go on.', flush=True)
        sys.exit(EXIT_STATUS)


def metrics_of(task: Task) -> dict | None:
    """What a finished score has: metrics, and who made them."""
    if not task.done:
        return None
    if not task.file.endswith('.json'):  # a picture
        return dict(metrics={}, spread={}, provenance=None)
    found = mmengine.load(task.file)
    made_by = found.pop('provenance', None)
    spread = {}
    if 'metrics' in found:  # of random splits
        spread = {k: v['std'] for k, v in found['metrics'].items()}
        found = {k: v['mean'] for k, v in found['metrics'].items()}
    numbers = {k: v for k, v in found.items() if isinstance(v, int | float)}
    return dict(metrics=numbers, spread=spread, provenance=made_by)


def summary(
    experiment: Experiment, plan: Plan, scores: list[list[Task]]
) -> list[dict]:
    """Per line its seeds' metrics, their mean and deviation."""
    lines = []
    for (cell, row), tasks in zip(experiment.cells, scores, strict=True):
        found = [metrics_of(task) for task in tasks]
        seeds = [
            seed
            for seed, result in zip(plan.args.seeds, found, strict=True)
            if result
        ]
        found = [result for result in found if result]
        columns = [
            c
            for c in experiment.columns
            if found and all(c in result['metrics'] for result in found)
        ]
        values = {c: [r['metrics'][c] for r in found] for c in columns}
        lines.append(
            dict(
                title=cell.title,
                row=row.name,
                settings=digest(plan.settings(row)),
                trained=plan.stages(cell, row),
                dataset=plan.dataset(cell, row),
                x=cell.x,
                seeds=seeds,
                metrics=[result['metrics'] for result in found],
                mean={c: statistics(v)[0] for c, v in values.items()},
                std={c: statistics(v)[1] for c, v in values.items()},
                seconds=[task.seconds for task in tasks if task.done],
                # Of each seed, over its random splits.
                spread=[result['spread'] for result in found],
                feature_length=next(
                    (
                        length
                        for result in found
                        if (
                            length := (result['provenance'] or {}).get(
                                'feature_length'
                            )
                        )
                    ),
                    None,
                ),
                paper=cell.paper,
                files=[task.file for task in tasks if task.done],
                provenance=[result['provenance'] for result in found],
            )
        )
    return lines


def caption(experiment: Experiment, plan: Plan) -> str:
    """How the numbers were made."""
    cfg = plan.scored(plan.main)
    if all(cell.tool for cell, _ in experiment.cells):
        seeds = ', '.join(map(str, plan.args.seeds))
        data = ', validation identities' * plan.args.val
        return f'{experiment.config}{data}, seeds {seeds}.'
    ranking = next(iter(ranking_evaluators(cfg)), {})
    data = 'validation identities' if plan.args.val else 'test set'
    dataset = cfg.test_dataloader.dataset.type
    seeds = ', '.join(map(str, plan.args.seeds))
    text = (
        f'{experiment.config}, {dataset}, {data}, '
        f'{ranking.get("metric", "cosine")} distance, AP formula '
        f'"{ranking.get("ap", "standard")}", seeds {seeds}'
    )
    if len(plan.args.seeds) > 1:
        text += ': mean ± sample standard deviation'
    elif plan.splits(plan.main):
        text += ': mean ± sample standard deviation over the random splits'
    if any(cell.paper for cell, _ in experiment.cells):
        text += '; in brackets the paper, on its own data and by its own AP'
    return f'{text}.'


def markdown(experiment: Experiment, plan: Plan, lines: list[dict]) -> str:
    """The table, with how it was made."""
    columns = [
        c for c in experiment.columns if any(c in ln['mean'] for ln in lines)
    ]
    head = ['', *columns, 'feature length', 'iterations']
    rows = [head, ['---'] * len(head)]
    for (cell, _), line in zip(experiment.cells, lines, strict=True):
        if cell.tool:
            continue
        cells = [line['title']]
        for column in columns:
            if column not in line['mean']:
                text = '-'
            else:
                text = f'{line["mean"][column]:.1f}'
                deviation = line['std'][column]
                if deviation is None:
                    deviation = line['spread'][0].get(column)
                if deviation is not None:
                    text += f' ± {deviation:.1f}'
            if column in line['paper']:
                text += f' ({line["paper"][column]:.1f})'
            cells.append(text)
        length = line['feature_length'] or '-'
        rows.append([*cells, str(length), line['trained']])
    table = '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)
    pictures = [
        file
        for line in lines
        for file in line['files']
        if not file.endswith('.json')
    ]
    done = sum(len(line['seeds']) for line in lines)
    total = len(lines) * len(plan.args.seeds)
    parts = [f'# {experiment.title}', caption(experiment, plan)]
    if done < total:
        parts.append(f'Unfinished: {done} of {total} cells are there.')
    machines = {
        (made_by or {}).get('machine')
        for line in lines
        for made_by in line['provenance']
    } - {None}
    if len(machines) > 1:
        parts.append(
            f'The cells were made on {len(machines)} machines: '
            f'{"; ".join(sorted(machines))}.'
        )
    parts += [table] if columns else []
    parts += pictures
    parts.append(f'`{provenance()["command"]}`')
    return '\n\n'.join(parts) + '\n'


def recorded_name(experiment: Experiment, args: argparse.Namespace) -> dict:
    """What a record is of."""
    return dict(
        experiment=experiment.name + '_val' * args.val,
        config=experiment.config,
    )


def recorded(experiment: Experiment, plan: Plan, lines: list[dict]) -> dict:
    """A table without what only this machine knows."""
    args, shown = plan.args, experiment.columns
    command = [f'tools/reproduce.py {args.name}']
    command += [f'--config {args.config}'] * bool(args.config)
    command += ['--amp'] * args.amp + ['--val'] * args.val
    if args.drawing_seed != DRAWING_SEED:
        command.append(f'--drawing-seed {args.drawing_seed}')
    if args.cfg_options:
        command += ['--cfg-options', *args.cfg_options]
    cfg = plan.scored(plan.main)
    return dict(
        recorded_name(experiment, args),
        title=experiment.title,
        ap=ranking_evaluators(cfg)[0].get('ap', 'standard'),
        command=' '.join(command),
        lines=[
            dict(
                {key: line[key] for key in (*OF_LINE, 'settings', 'seeds')},
                metrics=[
                    {k: round(v, 4) for k, v in metrics.items() if k in shown}
                    for metrics in line['metrics']
                ],
                spread=line['spread'],
                seconds=line['seconds'],
                versions=(line['provenance'] or [{}])[0].get('versions'),
            )
            for line in lines
            if any(line['metrics'])  # a picture has none
        ],
    )


def report(
    experiment: Experiment, plan: Plan, scores: list[list[Task]]
) -> str:
    """Write table, JSON and plot, and give the table."""
    lines = summary(experiment, plan, scores)
    name = f'{experiment.name}_{experiment.config}' + '_val' * plan.args.val
    stem = osp.join(plan.args.work_dir, name)
    text = markdown(experiment, plan, lines)
    write_json(
        dict(
            experiment=experiment.name,
            title=experiment.title,
            config=experiment.config,
            caption=caption(experiment, plan),
            lines=lines,
            provenance=provenance(),
        ),
        f'{stem}.json',
    )
    with whole_file(f'{stem}.md', 'w') as file:
        file.write(text)
    if plan.args.record:
        update_record(plan.args.record, recorded(experiment, plan, lines))
    written = f'{stem}.md, .json'
    if any(line['mean'] for line in lines):
        written += ', .png'
        # Only here, for matplotlib takes long to import.
        from mmreid.visualization import draw_experiment

        draw_experiment(lines, experiment.columns, f'{stem}.png', experiment.x)
    return f'{text}\n{written}'


def main() -> None:
    args = parse_args()
    repeated = [s for s in args.seeds if args.seeds.count(s) > 1]
    if repeated:
        raise InputError(
            f'--seeds names {repeated[0]} more than once: a seed counts once.'
        )
    experiment = read_experiment(args)
    if args.record:
        # Now, and not when hours have been trained.
        read_record(args.record, recorded_name(experiment, args))
    plan = Plan(experiment, args, *draw(experiment, args))
    if args.list:
        for cell, row in experiment.cells:
            print(f'{cell.title}\n    {row.argument}, {row.title}')
            if row.base:
                print(f'    {row.base}, from {experiment.config}')
            if row.overrides:
                print(f'    {row.overrides}')
        return
    # All of it, and with it all data sets, before anything is trained.
    scores = [
        [plan.scoring(cell, row, seed) for seed in args.seeds]
        for cell, row in experiment.cells
    ]
    by_seed = list(zip(*scores, strict=True))
    tasks = {}
    for task in itertools.chain.from_iterable(by_seed):
        collect(task, tasks)
    console = Console(list(tasks.values()))
    runner = Runner(max(1, args.jobs), console)
    with runner.listening():
        for of_seed in by_seed:
            # An unfinished table is worth having, and may be for days.
            for _ in run_seed(list(of_seed), runner):
                report(experiment, plan, scores)
    print(f'\n{report(experiment, plan, scores)}')
    if runner.failed:
        raise InputError(
            f'These failed, see above: {"; ".join(runner.failed)}.'
        )


def collect(task: Task, tasks: dict[str, Task]) -> None:
    """What a task needs, and the task: nothing for one that is done."""
    if not task.done:
        for need in task.needs:
            collect(need, tasks)
    tasks[task.file] = task


def run_seed(scores: list[Task], runner: Runner) -> Iterator[None]:
    """Make the scores of a seed, yielding where some are there."""
    if runner.jobs == 1:
        # Each cell as soon as it can be.
        for score in scores:
            needed: dict[str, Task] = {}
            collect(score, needed)
            for task in needed.values():
                runner.run([task])
            yield
        return
    # By levels, so that what is the same runs with as many threads.
    tasks: dict[str, Task] = {}
    for score in scores:
        collect(score, tasks)
    before = [t for t in tasks.values() if t not in scores]
    # The longest first, which the others are beside.
    before.sort(key=lambda task: -task.cost)
    for level in sorted({task.level for task in before}):
        runner.run([task for task in before if task.level == level])
    runner.run([score for score in scores if not score.uses_up])
    runner.run([score for score in scores if score.uses_up])
    yield


if __name__ == '__main__':
    with exit_with_message():
        main()

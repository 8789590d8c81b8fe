"""MAR at a size that trains in a second: data, config, and hooks for tests.

Processes that tests start import it by ``custom_imports``.
"""

import itertools
import multiprocessing
import os
import os.path as osp
import socket
import subprocess
import sys

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmreid.registry import HOOKS, TRANSFORMS
from mmreid.structures import BatchInfo

ROOT = osp.dirname(osp.dirname(osp.abspath(__file__)))
CONFIGS = osp.join(ROOT, 'configs')
WIDTH, HEIGHT = 16, 32
SOURCE_IDS = 6
NUM_TARGETS = 21
# Of the tiny config: 3 iterations per epoch, the main stage begins at 6,
# mines from 9, the target is reshuffled within each of its epochs.
BOUNDARY, MINING, END = 6, 9, 15
_runs = itertools.count()


def write_part(
    folder: str, people: range, cameras: int, shots: int, seed: int
) -> None:
    """Noise around a colour per person and a brightness per camera."""
    os.makedirs(folder)
    for person, camera, shot in itertools.product(
        people, range(cameras), range(shots)
    ):
        colour = np.random.default_rng((seed, person)).uniform(40, 200, 3)
        noise = np.random.default_rng((seed, person, camera, shot)).normal(
            15 * camera, 25, (HEIGHT, WIDTH, 3)
        )
        cv2.imwrite(
            f'{folder}/{person:04d}_c{camera + 1}s1_{shot:06d}_00.png',
            (colour + noise).clip(0, 255).astype(np.uint8),
        )


def write_benchmark(root: str) -> None:
    """A source and a target, both in the layout of Market-1501."""
    train = 'bounding_box_train'
    write_part(f'{root}/source/{train}', range(1, SOURCE_IDS + 1), 2, 2, 0)
    write_part(f'{root}/target/{train}', range(1, 8), 3, 1, 1)
    write_part(f'{root}/target/query', range(11, 16), 1, 1, 1)
    write_part(f'{root}/target/bounding_box_test', range(11, 17), 3, 1, 1)


def tiny_config(root: str, work_dir: str, **changes) -> Config:
    """A whole training with two stages, 6 + 9 iterations.

    Args:
        root (str): Where :func:`write_benchmark` wrote.
        work_dir (str): For logs and checkpoints.
        **changes: Merged into the config; in names, ``__`` stands for a dot.
    """
    pipeline = [dict(type='LoadReIDImage'), dict(type='PackReIDInputs')]
    target = dict(type='Market1501', data_root=f'{root}/target')
    sgd = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=5e-4)
    test_dataloader = dict(
        batch_size=8,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(target, split='test', pipeline=pipeline),
    )
    cfg = Config.fromfile(f'{CONFIGS}/_base_/mar_runtime.py')
    cfg.merge_from_dict(
        dict(
            work_dir=work_dir,
            # MMEngine keys its log by the name, else by the second.
            experiment_name=f'tiny{next(_runs)}',
            launcher='none',
            log_level='WARNING',
            model=dict(
                type='MAR',
                data_preprocessor=dict(
                    type='ReIDDataPreprocessor',
                    mean=(120, 120, 120),
                    std=(60, 60, 60),
                    augmentations=[dict(type='RandomFlipCrop', padding=3)],
                ),
                backbone=dict(
                    type='LinearEndResNet',
                    depth=18,
                    stem_channels=4,
                    base_channels=4,
                ),
                head=dict(
                    type='ReferenceAgentHead',
                    num_agents=SOURCE_IDS,
                ),
                miner=dict(type='SoftMultilabelMiner', ratio=0.25),
            ),
            train_dataloader=dict(
                num_workers=0,
                dataset=dict(
                    type='DomainDataset',
                    source=dict(type='Market1501', data_root=f'{root}/source'),
                    target=dict(target, labelled=False),
                    pipeline=pipeline,
                ),
            ),
            test_dataloader=test_dataloader,
            test_evaluator=dict(type='ReIDMetric'),
            test_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(sgd, lr=0.005)),
            train_cfg=dict(
                type='StagedTrainLoop',
                order=['pretrain', 'main'],
                stages=dict(
                    pretrain=dict(
                        batch_size=dict(source=8),
                        max_epochs=2,
                        optim_wrapper=dict(optimizer=sgd),
                        param_scheduler=[
                            dict(type='CosineAnnealingLR', eta_min=1e-4)
                        ],
                    ),
                    main=dict(
                        batch_size=dict(source=8, target=8),
                        max_epochs=3,
                        param_scheduler=[
                            dict(
                                type='MultiStepLR',
                                milestones=[1, 2],
                                gamma=0.5,
                            )
                        ],
                    ),
                ),
            ),
            custom_hooks=[],
        )
    )
    cfg.default_hooks.checkpoint = dict(
        type='WholeCheckpointHook', by_epoch=False, interval=2
    )
    cfg.default_hooks.logger.interval = 1
    cfg.merge_from_dict(
        {key.replace('__', '.'): value for key, value in changes.items()}
    )
    return cfg


def batch_info(stage: str, epoch: int = 0, **sizes: int) -> BatchInfo:
    """Of a batch that has so many images of each domain, in this order."""
    domains, start = {}, 0
    for name, num in sizes.items():
        domains[name] = slice(start, start + num)
        start += num
    return BatchInfo(stage, epoch, iteration=7, seed=0, domains=domains)


def train(cfg: Config) -> Runner:
    """Train, and give the runner."""
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def _train_forked(cfg: Config) -> None:
    torch.set_num_threads(1)
    train(cfg)


def train_killed(cfg: Config) -> None:
    """Train in a process that a hard :class:`KillHook` of the config ends."""
    process = multiprocessing.get_context('fork').Process(
        target=_train_forked, args=(cfg,)
    )
    process.start()
    process.join()
    assert process.exitcode == 9


def hook_of(runner: Runner, cls: type) -> Hook:
    """The runner's only hook of a class."""
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, cls))
    return hook


def assert_same(ours, theirs, where: str = '') -> None:
    """Nested containers are equal, tensors bit for bit."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key, value in ours.items():
            assert_same(value, theirs[key], f'{where}.{key}')
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), where
        for i, values in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*values, f'{where}.{i}')
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where


def assert_close_states(found, expected) -> None:
    """State dicts of the same names, with close values."""
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(
            found[key],
            value,
            rtol=1e-5,
            atol=1e-5,
            msg=lambda m, key=key: f'{key}: {m}',
        )


def state_of_ranks(work_dir) -> dict:
    """What DumpRankHook left of two processes, which must hold the same."""
    first, second = (
        torch.load(f'{work_dir}/rank{rank}.pth', weights_only=True)
        for rank in range(2)
    )
    assert_same(first, second)
    return first


def run_two(tool, *arguments):
    """A tool's two-process script."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    env = dict(os.environ, PORT=str(port), OMP_NUM_THREADS='1')
    # torchrun lies beside the interpreter; the config imports tiny_mar.
    env['PATH'] = osp.dirname(sys.executable) + os.pathsep + env['PATH']
    env['PYTHONPATH'] = os.pathsep.join(
        [osp.dirname(osp.abspath(__file__)), env.get('PYTHONPATH', '')]
    )
    result = subprocess.run(
        ['bash', f'{ROOT}/tools/{tool}', *map(str, arguments)],
        env=env,
        capture_output=True,
        text=True,
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    return output


class Killed(Exception):
    """Stands for the end of the process."""


@HOOKS.register_module(force=True)
class KillHook(Hook):
    """Ends the run at an event, before or after the other hooks.

    Args:
        event (str): Method of the hooks.
        at (int or str): The iteration or the stage.
        hard (bool): End the process at once rather than raise
            :class:`Killed`. Defaults to False.
    """

    def __init__(self, event: str, at: int | str, hard: bool = False) -> None:
        self.at, self.hard = at, hard
        setattr(self, event, self._event)

    def _event(self, runner, batch_idx=None, stage=None, **kwargs) -> None:
        if self.at in (batch_idx, getattr(stage, 'name', None)):
            if self.hard:
                os._exit(9)
            raise Killed


@HOOKS.register_module(force=True)
class AskHook(Hook):
    """Sends its own process a signal before an iteration."""

    def __init__(self, at: int, signal: int = 15, rank: int = 0) -> None:
        self.at, self.signal, self.rank = at, signal, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if batch_idx == self.at and get_rank() == self.rank:
            os.kill(os.getpid(), self.signal)


@HOOKS.register_module(force=True)
class RecordHook(Hook):
    """Notes what happens: ``events``, and ``samples`` per iteration."""

    def __init__(self) -> None:
        self.events, self.samples, self.rates, self.optimizers = [], {}, {}, {}

    def before_stage(self, runner, stage) -> None:
        self.events.append(('before_stage', stage.name, runner.iter))

    def after_stage(self, runner, stage) -> None:
        self.events.append(('after_stage', stage.name, runner.iter))

    def before_train_epoch(self, runner) -> None:
        self.events.append(('before_epoch', runner.epoch, runner.iter))

    def before_val(self, runner) -> None:
        self.events.append(('val', runner.epoch, runner.iter))

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        samples = data_batch['data_samples']
        self.samples[batch_idx] = [
            samples[key].tolist() for key in ('domain', 'sample_idx')
        ]
        optimizer = runner.optim_wrapper.optimizer
        self.rates[batch_idx] = optimizer.param_groups[0]['lr']
        self.optimizers[batch_idx] = (id(optimizer), len(optimizer.state))


@HOOKS.register_module(force=True)
class DumpRankHook(Hook):
    """Writes every rank's state at the end: ``rank<i>.pth``."""

    def after_train(self, runner) -> None:
        model = getattr(runner.model, 'module', runner.model)
        torch.save(
            model.state_dict(), f'{runner.work_dir}/rank{get_rank()}.pth'
        )


@HOOKS.register_module(force=True)
class StillNeckHook(Hook):
    """Keeps a ``Baseline``'s BNNeck at its running statistics."""

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        getattr(runner.model, 'module', runner.model).bn_neck.eval()


@TRANSFORMS.register_module(force=True)
class LogPath:
    """Appends the path of each image that is loaded to a file."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __call__(self, results: dict) -> dict:
        with open(self.file, 'a') as file:
            file.write(results['img_path'] + '\n')
        return results


@HOOKS.register_module(force=True)
class StopHook(Hook):
    """Stops the training after an iteration."""

    def __init__(self, at: int) -> None:
        self.at = at

    def after_train_iter(self, runner, batch_idx, **kwargs) -> None:
        if batch_idx == self.at:
            runner.train_loop.stop_training = True

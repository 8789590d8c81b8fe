"""Time of training steps and of extraction, over that of the bare networks.

    OMP_NUM_THREADS=1 python benchmarks/training.py --mar-code MAR --out t.md

Four parts, each with a table:

- steps: whole iterations of a real training (`Runner.train` with a config of
  `configs/`: loader, preprocessor, losses, mining, memory, hooks, optimiser)
  over (a) the bare networks: the same forward passes and one backward pass of
  the pooled features' sum, and the optimiser's step on the networks that
  learn, for random images that are there already.
- losses: MAR's losses, memory and mining, forward and backward, on drawn unit
  features, beside those of the published code (https://github.com/KovenYu/MAR);
  whole, and without the products of features and agents, which both take.
- threshold: its initial threshold, from all pairs of soft multilabels, beside
  the published list of all pairs; and ours at the full size, with its memory.
- extraction: `mmreid.engine.extract` over the bare forward passes.

Contenders take turns in one process, in blocks; ratios are those of neighbour
blocks. On a CPU without workers, time is processor time, so that other jobs
on the machine count less; otherwise it is wall clock time. It runs on the GPU
if there is one (`CUDA_VISIBLE_DEVICES=` hides it); there every step is also
checked not to wait for the GPU. Images are drawn, so no data is needed.

The published code is no dependency; without `--mar-code` it is skipped. Its
losses call `.cuda()`, which on a CPU is made to do nothing.
"""

import argparse
import contextlib
import copy
import importlib.util
import itertools
import platform
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import mmengine
import torch
import torch.nn.functional as F
from evaluation import peak_memory, read_field, run_forked
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from scipy.spatial.distance import pdist
from torch import Tensor, nn

from mmreid.engine import extract
from mmreid.models import MAR, TJAIDL, BaseReID
from mmreid.models.utils import kth_largest_agreement
from mmreid.registry import DATASETS, MODELS
from mmreid.structures import BatchInfo, FeatureSet, Stage
from mmreid.synthetic import DOMAINS, write_dukemtmc, write_market1501

CONFIGS = Path(__file__).parents[1] / 'configs'
PARTS = ('steps', 'losses', 'threshold', 'extraction')
BACKBONES = {
    'resnet50': dict(type='LinearEndResNet', depth=50, style='pytorch'),
    'mobilenet': dict(type='MobileNetV1', padding='same'),
    'mobilenet-x0.25': dict(
        type='MobileNetV1', padding='same', width_mult=0.25
    ),
    'osnet-x0.25': dict(type='OSNet', width=0.25),
}
# As many identities as the methods' own sources have.
IDENTITIES = dict(mar=4101, tj_aidl=702, baseline=702)
CAMERAS = 6
# Iterations before each block that do not count: a worker has loaded ahead
# while the bare networks ran.
WARM = 3
DEVICE = get_device()
ON_CPU = DEVICE == 'cpu'
GOAL_STEP = 1.10 if ON_CPU else 1.05
GOAL_LOSSES = 3 if ON_CPU else 10
GOAL_THRESHOLD = 10
GOAL_EXTRACTION = 0.95


def clock(workers: int = 0) -> float:
    if not ON_CPU:
        torch.cuda.synchronize()
    in_one_process = ON_CPU and not workers
    return time.process_time() if in_one_process else time.perf_counter()


def seconds_of(task: Callable, number: int = 1, workers: int = 0) -> float:
    begin = clock(workers)
    for _ in range(number):
        task()
    return (clock(workers) - begin) / number


def spread(values: Sequence[float], unit: str = '.3f') -> str:
    return (
        f'{statistics.median(values):{unit}} '
        f'({min(values):{unit}}-{max(values):{unit}})'
    )


def ratio(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(first, second, strict=True)]


def verdict(reached: bool, goal: str) -> str:
    return f'{goal}: {"yes" if reached else "no"}'


# Steps


def method_config(args: argparse.Namespace, method: str) -> Config:
    """A real config of the method, at the size of the benchmark."""
    file = dict(
        mar='mar/mar_msmt_market.py',
        tj_aidl='tj_aidl/tj_aidl_duke_market.py',
        # Nothing of a method but the way it runs.
        baseline='tj_aidl/tj_aidl_duke_market.py',
    )[method]
    cfg = Config.fromfile(CONFIGS / file)
    num = IDENTITIES[method]
    backbone = BACKBONES[args.backbone]
    preprocessor = cfg.model.data_preprocessor
    stages = cfg.train_cfg.stages
    source, target = args.batch_size, args.batch_size
    if method == 'mar':
        cfg.model.head.num_agents = num
        stages.main.batch_size = dict(source=source, target=target)
        # The first epoch, all that is run here, would mine no pairs.
        cfg.default_hooks.pair_mining.start_epoch = 0
    elif method == 'tj_aidl':
        cfg.model.num_identities = num
        for stage in stages.values():
            stage.batch_size = {
                name: args.batch_size for name in stage.batch_size
            }
        cfg.train_cfg.order = ['joint', 'adapt']
    else:
        cfg.model = dict(
            type='Baseline',
            num_identities=num,
            data_preprocessor=preprocessor,
        )
        sampler = dict(type='IdentitySampler')
        cfg.train_cfg.order = ['train']
        cfg.train_cfg.stages = dict(
            train=dict(
                batch_size=dict(source=source), sampler=dict(source=sampler)
            )
        )
    cfg.model.backbone = backbone
    cfg.model.amp = args.amp
    return cfg


def draw_data(args: argparse.Namespace, method: str, root: Path) -> dict:
    """Configs of a source with as many identities as the method's, and of a
    target with as many images as asked for."""
    height, width = args.size
    size = (width, height)
    num = IDENTITIES[method]
    # The baseline's batches have several images of a person.
    cameras = 4 if method == 'baseline' else 1
    source = write_dukemtmc(
        str(root / f'{num}x{cameras}'),
        DOMAINS['source'],
        num,
        1,
        1,
        num_cameras=cameras,
        size=size,
    )
    target = write_market1501(
        str(root),
        num_train_ids=-(-args.images // CAMERAS),
        num_test_ids=1,
        images_per_camera=1,
        num_cameras=CAMERAS,
        size=size,
    )
    return dict(
        source=dict(
            type='DukeMTMCreID',
            data_root=source,
            attribute_file=f'{source}/duke_attribute.mat',
        ),
        target=dict(type='Market1501', data_root=target, labelled=False),
        pipeline=[
            dict(type='LoadReIDImage'),
            dict(type='mmcv.Resize', scale=size),
            dict(type='PackReIDInputs'),
        ],
    )


def bare_passes(model: BaseReID, stage: Stage) -> list[tuple]:
    """What a stage runs: network, domain of the images, whether it learns."""
    if not isinstance(model, TJAIDL):
        return [(model.backbone, name, True) for name in stage.batch_size]
    if stage.name == 'adapt':
        return [
            (model.identity_backbone, 'target', False),
            (model.backbone, 'target', True),
            # The copy that gives the soft labels.
            (copy.deepcopy(model.backbone), 'target', False),
        ]
    return [
        (model.identity_backbone, 'source', True),
        (model.backbone, 'source', True),
    ]


def bare_step(
    cfg: dict, stage: Stage, size: tuple[int, int]
) -> Callable[[], None]:
    """(a): a step of the networks alone, built anew, on random images."""
    with DefaultScope.overwrite_default_scope('mmreid'):
        model = MODELS.build({**cfg, 'compile_backbone': False}).to(DEVICE)
        passes = bare_passes(model, stage)
        optim_wrapper = build_optim_wrapper(
            nn.ModuleList([net for net, _, learns in passes if learns]),
            {'type': 'OptimWrapper', **stage.optim_wrapper},
        )
    images = {
        name: torch.randn(num, 3, *size, device=DEVICE)
        for name, num in stage.batch_size.items()
    }

    def step() -> None:
        loss = 0
        for network, name, learns in passes:
            network.train(learns)
            with torch.set_grad_enabled(learns):
                features = model.run_backbone(network, images[name])
            if learns:
                loss = loss + features.sum(1).mean()
        optim_wrapper.update_params(loss)

    return step


class TurnsHook(Hook):
    """Lets blocks of iterations take turns with blocks of bare steps.

    Args:
        model (dict): Config of the model.
        size (tuple[int, int]): Height and width of the images.
        block (int): Iterations of a block.
        workers (int): Processes that load.
    """

    # After all the others: what they do counts.
    priority = 'LOWEST'

    def __init__(
        self, model: dict, size: tuple[int, int], block: int, workers: int
    ) -> None:
        self.model, self.size = model, size
        self.block, self.workers = block, workers
        # Stage -> (seconds of a step, seconds of a bare one) per block.
        self.times: dict[str, list[tuple[float, float]]] = {}

    def before_stage(self, runner, stage: Stage) -> None:
        self.step = bare_step(self.model, stage, self.size)
        self.done = 0

    def after_train_iter(self, runner, batch_idx, **kwargs) -> None:
        stage = runner.train_loop.stage.name
        self.done += 1
        place = self.done % (WARM + self.block)
        if place == WARM:
            self.begin = clock(self.workers)
        elif place == 0:
            full = (clock(self.workers) - self.begin) / self.block
            bare = seconds_of(self.step, self.block, self.workers)
            self.times.setdefault(stage, []).append((full, bare))


def never_wait(step: Callable) -> Callable:
    """The step, which fails if it makes the host wait for the GPU."""

    def checked(*args, **kwargs):
        torch.cuda.set_sync_debug_mode('error')
        try:
            return step(*args, **kwargs)
        finally:
            torch.cuda.set_sync_debug_mode('default')

    return checked


def time_steps(
    args: argparse.Namespace,
    method: str,
    root: Path,
    workers: int,
    cached: bool,
    compiled: bool = False,
) -> dict[str, list[tuple[float, float]]]:
    """Train all stages for as many iterations as are timed."""
    cfg = method_config(args, method)
    data = draw_data(args, method, root)
    if cached:
        for name in ('source', 'target'):
            data[name]['cache_dir'] = str(root / 'cache')
    if method == 'baseline':
        data['target'] = None
    cfg.train_dataloader = dict(
        num_workers=workers,
        pin_memory=not ON_CPU,
        dataset=dict(type='DomainDataset', **data),
    )
    for key in [key for key in cfg if key.startswith(('test_', 'val_'))]:
        cfg.pop(key)
    cfg.model.compile_backbone = compiled
    # One bare block more than is counted, to warm up.
    length = (args.rounds + 1) * (WARM + args.block)
    for stage in cfg.train_cfg.stages.values():
        stage.pop('max_epochs', None)
        stage.max_iters = length
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=10**9, save_last=False
    )
    # It compares all target images, before and after what is timed.
    cfg.default_hooks.neighbour_report.domain = None
    cfg.work_dir = str(root / 'work_dir')
    cfg.launcher = 'none'
    cfg.log_level = 'WARNING'
    cfg.experiment_name = f'{method}-{workers}-{cached}-{compiled}'
    runner = Runner.from_cfg(cfg)
    turns = TurnsHook(cfg.model, tuple(args.size), args.block, workers)
    runner.register_hook(turns)
    if not ON_CPU:
        runner.model.train_step = never_wait(runner.model.train_step)
    # Its speed is another part, and random weights would give no spread.
    runner.train_loop.extract = lambda domain: random_features(
        runner.train_loop.dataset, domain, runner.model.feature_length
    )
    runner.train()
    return {name: times[1:] for name, times in turns.times.items()}


def random_features(dataset, domain: str, length: int) -> FeatureSet:
    ids, cameras = (
        torch.as_tensor(labels, device=DEVICE)
        for labels in (dataset.person_ids(domain), dataset.camera_ids(domain))
    )
    return FeatureSet(
        torch.randn(len(ids), length, device=DEVICE), ids, cameras
    )


def steps(args: argparse.Namespace, root: Path) -> list[str]:
    rows = []
    variants = [
        (workers, cached, False)
        for workers in args.workers
        for cached in (False, True)
    ]
    if args.compile:
        variants.append((0, True, True))
    for method in args.method:
        for workers, cached, compiled in variants:
            found = time_steps(args, method, root, workers, cached, compiled)
            for stage, times in found.items():
                full, bare = zip(*times, strict=True)
                ratios = ratio(full, bare)
                cells = [
                    f'{method}, {stage}',
                    f'{workers}',
                    'cached' if cached else 'files',
                    'compiled' if compiled else 'eager',
                    spread([1e3 * s for s in full], '.0f'),
                    spread([1e3 * s for s in bare], '.0f'),
                    spread(ratios),
                    verdict(
                        statistics.median(ratios) <= GOAL_STEP,
                        f'{GOAL_STEP:.2f}',
                    ),
                ]
                rows.append(f'| {" | ".join(cells)} |')
                print(rows[-1], flush=True)
    return [
        f'{args.backbone}, {args.batch_size} images of each domain at '
        f'{args.size[0]}x{args.size[1]}{", amp" * args.amp}, '
        f'{args.rounds} rounds of {args.block} steps.',
        '',
        '| method, stage | workers | images | backbone | step, ms: median '
        '(min-max) | bare networks, ms | step / bare | goal |',
        '| --- | --: | --- | --- | --: | --: | --: | --- |',
        *rows,
    ]


# Losses


class FeatureMAR(MAR):
    """MAR whose inputs are the features."""

    def extract_feat(self, inputs: Tensor) -> Tensor:
        return inputs


def published_code(checkout: Path | None) -> types.ModuleType | None:
    """Its `src/utils.py`, without what only reads data and writes logs."""
    if checkout is None:
        print('Published code skipped: no --mar-code.')
        return None
    absent = {
        'ReIDdatasets': types.SimpleNamespace(FullTraining=None, Market=None),
        'tensorboardX': types.SimpleNamespace(SummaryWriter=None),
    }
    spec = importlib.util.spec_from_file_location(
        'published_mar', checkout / 'src' / 'utils.py'
    )
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(sys.modules, absent):
        spec.loader.exec_module(module)
    return module


def without_cuda() -> contextlib.AbstractContextManager:
    """Lets `.cuda()` give back the tensor where there is no GPU."""
    if not ON_CPU:
        return contextlib.nullcontext()
    return mock.patch.object(Tensor, 'cuda', lambda self: self)


def draw_batch(args: argparse.Namespace, dim: int = 2048) -> dict:
    """Unit features around their agents, and labels; the agents as well."""
    generator = torch.Generator().manual_seed(0)
    num, agents = args.loss_batch_size, IDENTITIES['mar']

    def unit(*shape: int) -> Tensor:
        return F.normalize(torch.randn(*shape, generator=generator))

    weights = unit(agents, dim)
    person_id = torch.randint(agents, (2 * num,), generator=generator)
    batch = dict(
        agents=weights,
        inputs=F.normalize(weights[person_id] + unit(2 * num, dim)),
        person_id=person_id,
        camera_id=torch.arange(2 * num) % CAMERAS,
        sample_idx=torch.randperm(2 * num, generator=generator),
        log_soft_multilabel=torch.randn(
            64, agents, generator=generator
        ).log_softmax(1),
        all_cameras=torch.arange(64) % CAMERAS,
    )
    return {name: value.to(DEVICE) for name, value in batch.items()}


class GivenCosines(nn.Module):
    """In place of MAR's head: cosines that are there already."""

    def __init__(self, head: nn.Module, source: Tensor, target: Tensor):
        super().__init__()
        self.scale = head.scale
        self.log_soft_multilabel = head.log_soft_multilabel
        self.source = source
        # MAR asks for the source's, then for the target's.
        self.turns = itertools.cycle([source, target])

    def unit_agents(self) -> None:
        pass

    def scaled_cosine(self, *args) -> Tensor:
        return self.scale * self.source

    def reference_cosine(self, *args) -> Tensor:
        return next(self.turns)


def given_cosines(batch: dict, num: int) -> tuple[Tensor, Tensor]:
    cosine = batch['inputs'].detach() @ batch['agents'].detach().T
    return tuple(part.clone().requires_grad_() for part in cosine.split(num))


def our_losses(
    args: argparse.Namespace, given: bool = False
) -> Callable[[], tuple]:
    """A step of MAR's losses; ``given`` its cosines, or without."""
    batch = draw_batch(args)
    cosines = given_cosines(batch, args.loss_batch_size) if given else ()
    num = args.loss_batch_size
    with DefaultScope.overwrite_default_scope('mmreid'):
        model = FeatureMAR(
            head=dict(type='ReferenceAgentHead', num_agents=IDENTITIES['mar']),
            backbone=dict(type='LinearEndResNet', depth=50),
        ).to(DEVICE)
    agents = model.head.agents
    agents.data.copy_(batch.pop('agents'))
    if given:
        model.head = GivenCosines(model.head, *cosines)
    model.references.init(
        batch.pop('log_soft_multilabel'), batch.pop('all_cameras')
    )
    model.memory.allocate(2 * num, IDENTITIES['mar'])
    model.miner.threshold.fill_(0.5)
    domains = dict(source=slice(num), target=slice(num, None))
    info = BatchInfo('main', 1, 0, 0, domains)
    inputs = batch['inputs'].requires_grad_()

    def step() -> tuple[Tensor, Tensor]:
        losses = model.loss(batch, info)
        total = sum(v for name, v in losses.items() if 'loss' in name)
        for leaf in (inputs, agents, *cosines):
            leaf.grad = None
        total.backward()
        return total, inputs.grad

    return step


def published_losses(
    code: types.ModuleType, args: argparse.Namespace, given: bool = False
) -> Callable[[], tuple]:
    """The published losses, put together as in a step of that code."""
    batch = draw_batch(args)
    cosines = given_cosines(batch, args.loss_batch_size) if given else ()
    num = args.loss_batch_size
    weights = batch['agents'].requires_grad_()
    inputs = batch['inputs'].requires_grad_()
    person_id, camera_id = batch['person_id'], batch['camera_id']
    rj = code.JointLoss(1)
    cml = code.MultilabelLoss(2 * num)
    mdl = code.DiscriminativeLoss(0.005)
    with without_cuda():
        mdl.init_threshold([0.5] * 1000)
    cml.init_centers(batch['log_soft_multilabel'], batch['all_cameras'])
    # There the memory is on the CPU.
    memory = torch.zeros(2 * num, IDENTITIES['mar'])
    visited = torch.zeros(2 * num, dtype=torch.bool)
    index = batch['sample_idx'][num:].cpu()

    def step() -> tuple[Tensor, Tensor]:
        source, target = (
            F.normalize(part) for part in (inputs[:num], inputs[num:])
        )
        if given:
            agents = weights
            source_cosine, target_cosine = cosines
            mined_cosine = target_cosine
        else:
            agents = F.normalize(weights)
            source_cosine, target_cosine = source @ agents.T, target @ agents.T
            # It computes this product twice.
            mined_cosine = target @ agents.detach().T
        loss_al = F.cross_entropy(30 * source_cosine, person_id[:num])
        loss_rj = rj(
            source,
            agents.detach(),
            person_id[:num],
            source_cosine.detach(),
            target,
            target_cosine.detach(),
        )
        labels = (30 * mined_cosine).softmax(1)
        loss_cml = cml(labels.log(), camera_id[num:])
        rows = labels.detach().cpu()
        known = visited[index][:, None]
        memory[index] = torch.where(
            known, 0.9 * memory[index] + 0.1 * rows, rows
        )
        visited[index] = True
        loss_mdl = mdl(target, memory[index], person_id[num:])
        total = loss_mdl + 2e-4 * loss_cml + 50 * loss_al + 10 * loss_rj
        for leaf in (inputs, weights, *cosines):
            leaf.grad = None
        total.sum().backward()
        return total.sum(), inputs.grad

    def without_a_gpu() -> tuple[Tensor, Tensor]:
        with without_cuda():
            return step()

    return without_a_gpu


def losses(args: argparse.Namespace, root: Path) -> list[str]:
    code = published_code(args.mar_code)
    rows, notes = [], []
    for given in (False, True):
        what = 'cosines given' if given else 'whole'
        contenders = dict(mmreid=our_losses(args, given))
        if code:
            contenders['published'] = published_losses(code, args, given)
        third = {
            name: [step() for _ in range(3)][-1]
            for name, step in contenders.items()
        }
        times = {name: [] for name in contenders}
        for _ in range(args.rounds):
            for name, step in contenders.items():
                times[name].append(seconds_of(step, 3))
        for name, values in times.items():
            cells = [what, name, spread([1e3 * s for s in values], '.0f')]
            if name == 'published':
                ratios = ratio(values, times['mmreid'])
                reached = statistics.median(ratios) >= GOAL_LOSSES
                cells += [
                    spread(ratios, '.1f'),
                    verdict(reached, f'{GOAL_LOSSES}'),
                ]
            else:
                cells += ['', '']
            rows.append(f'| {" | ".join(cells)} |')
        if code and not given:
            (ours, grad), (theirs, their_grad) = third.values()
            off = (grad - their_grad).norm() / their_grad.norm()
            notes += [
                '',
                f'The total loss of the third step is {ours.item():.5f} and '
                f'{theirs.item():.5f}; the gradients of the features differ '
                f'by {off.item():.1e} of their norm.',
            ]
    return [
        f'{args.loss_batch_size} + {args.loss_batch_size} features of 2,048, '
        f'{IDENTITIES["mar"]:,} agents.',
        '',
        '| losses | contender | forward and backward, ms: median (min-max) | '
        'published / mmreid | goal |',
        '| --- | --- | --: | --: | --- |',
        *rows,
        *notes,
    ]


# Threshold


def soft_multilabels(num: int) -> Tensor:
    """As peaked as random unit features of 2,048 make them, with s = 30."""
    generator = torch.Generator().manual_seed(0)
    cosine = torch.randn(num, IDENTITIES['mar'], generator=generator)
    return cosine.mul_(30 / 2048**0.5).softmax(1).to(DEVICE)


def num_similar(num: int) -> int:
    return int(0.005 * (num * (num - 1) // 2))


def our_threshold(labels: Tensor) -> float:
    return kth_largest_agreement(labels, num_similar(len(labels))).item()


def published_threshold(code: types.ModuleType, labels: Tensor) -> float:
    loss = code.DiscriminativeLoss(0.005)
    agreement = 1 - pdist(labels.cpu().numpy(), 'minkowski', p=1) / 2
    with without_cuda():
        loss.init_threshold(agreement)
    return loss.threshold.item()


def alone(find: Callable[..., float], *args) -> tuple[float, float, float]:
    """Seconds, peak bytes beyond the soft multilabels, and the threshold."""
    torch.set_num_threads(1)
    find(*args[:-1], args[-1][:64])
    if not ON_CPU:
        torch.cuda.reset_peak_memory_stats()
    before = peak_memory() if ON_CPU else torch.cuda.memory_allocated()
    found = []
    seconds = seconds_of(lambda: found.append(find(*args)))
    after = peak_memory() if ON_CPU else torch.cuda.max_memory_allocated()
    return seconds, after - before, found[0]


def threshold(args: argparse.Namespace, root: Path) -> list[str]:
    code = published_code(args.mar_code)
    # A forked process cannot use the GPU of the one it comes from.
    run = run_forked if ON_CPU else lambda task, *rest: task(*rest)
    labels = soft_multilabels(args.threshold_images)
    contenders = {'mmreid': (our_threshold,)}
    if code:
        contenders['published'] = (published_threshold, code)
    times, peaks, values = (
        {name: [] for name in contenders} for _ in range(3)
    )
    for _ in range(3):
        for name, find in contenders.items():
            seconds, peak, value = run(alone, *find, labels)
            times[name].append(seconds)
            peaks[name].append(peak)
            values[name].append(value)
    rows = []
    for name in contenders:
        cells = [f'{len(labels):,}', name, spread(times[name], '.2f')]
        cells += [f'{max(peaks[name]) / 1e6:.0f}', f'{values[name][0]:.6f}']
        if name == 'published':
            ratios = ratio(times[name], times['mmreid'])
            reached = statistics.median(ratios) >= GOAL_THRESHOLD
            cells += [
                spread(ratios, '.1f'),
                verdict(reached, f'{GOAL_THRESHOLD}'),
            ]
        else:
            cells += ['', '']
        rows.append(f'| {" | ".join(cells)} |')
    labels = soft_multilabels(12_936)
    seconds, peak, value = run(alone, our_threshold, labels)
    rows.append(
        f'| 12,936 | mmreid | {seconds:.1f} | {peak / 1e6:.0f} | {value:.6f} '
        f'| | under 1 GB: {"yes" if peak < 1e9 else "no"} |'
    )
    return [
        f'{IDENTITIES["mar"]:,} agents.',
        '',
        '| images | contender | s: median (min-max) | memory, MB | T | '
        'published / mmreid | goal |',
        '| --: | --- | --: | --: | --: | --: | --- |',
        *rows,
    ]


# Extraction


def images_of(data: dict):
    """The target's images, without the rest of a training."""
    with DefaultScope.overwrite_default_scope('mmreid'):
        dataset = DATASETS.build(dict(type='DomainDataset', **data))
    dataset.full_init()
    return dataset.images('target')


def extraction(args: argparse.Namespace, root: Path) -> list[str]:
    cfg = method_config(args, 'mar')
    data = draw_data(args, 'mar', root)
    data['source'] = None
    with DefaultScope.overwrite_default_scope('mmreid'):
        model = MODELS.build(cfg.model).to(DEVICE).eval()
    images = torch.randn(128, 3, *args.size, device=DEVICE)
    rows = []
    for workers in args.workers:
        for cached in (False, True):
            target = dict(data['target'])
            if cached:
                target['cache_dir'] = str(root / 'cache')
            dataset = images_of(dict(data, target=target))
            num = len(dataset)
            counts = [min(128, num - i) for i in range(0, num, 128)]

            @torch.no_grad()
            def bare(counts=counts) -> None:
                for count in counts:
                    model.extract_feat(images[:count])

            def ours(dataset=dataset, workers=workers) -> None:
                extract(model, dataset, 'target', num_workers=workers)

            bare(), ours()
            full, alone = [], []
            for _ in range(args.rounds):
                full.append(seconds_of(ours, workers=workers))
                alone.append(seconds_of(bare, workers=workers))
            ratios = ratio(alone, full)
            cells = [
                f'{workers}',
                'cached' if cached else 'files',
                spread([num / s for s in full], '.0f'),
                spread([num / s for s in alone], '.0f'),
                spread(ratios),
                verdict(
                    statistics.median(ratios) >= GOAL_EXTRACTION,
                    f'{GOAL_EXTRACTION}',
                ),
            ]
            rows.append(f'| {" | ".join(cells)} |')
            print(rows[-1], flush=True)
    return [
        f'{args.backbone}, {num} images at {args.size[0]}x{args.size[1]} in '
        'batches of 128.',
        '',
        '| workers | images | extract, images/s: median (min-max) | bare '
        'forward, images/s | extract / bare | goal |',
        '| --: | --- | --: | --: | --: | --- |',
        *rows,
    ]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument(
        '--method', nargs='+', choices=IDENTITIES, default=[*IDENTITIES]
    )
    parser.add_argument('--backbone', choices=BACKBONES, default='resnet50')
    parser.add_argument('--amp', action='store_true')
    parser.add_argument(
        '--compile',
        action='store_true',
        help='a row more, with model.compile_backbone',
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(128, 64) if ON_CPU else (384, 128),
        metavar=('HEIGHT', 'WIDTH'),
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=32 if ON_CPU else 184,
        help='images of each domain',
    )
    parser.add_argument('--loss-batch-size', type=int, default=184)
    parser.add_argument(
        '--images',
        type=int,
        default=1020 if ON_CPU else 12936,
        help='images of the target',
    )
    parser.add_argument('--threshold-images', type=int, default=3000)
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 1])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument(
        '--block', type=int, default=5, help='steps of a round'
    )
    parser.add_argument(
        '--mar-code',
        type=Path,
        metavar='PATH',
        help='checkout of the published code of MAR',
    )
    parser.add_argument(
        '--data-dir',
        type=Path,
        help='where to draw the images (default: a temporary folder)',
    )
    parser.add_argument('--out', type=Path, help='file for the tables')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    machine = read_field('/proc/cpuinfo', 'model name')
    if not ON_CPU:
        machine = torch.cuda.get_device_name()
    lines = [
        f'{machine}, {torch.get_num_threads()} thread(s); Python '
        f'{platform.python_version()}, PyTorch {torch.__version__}, MMEngine '
        f'{mmengine.__version__}.'
    ]
    with contextlib.ExitStack() as stack:
        root = args.data_dir or Path(
            stack.enter_context(tempfile.TemporaryDirectory())
        )
        for part in args.parts:
            lines += ['', f'### {part.capitalize()}', '']
            lines += globals()[part](args, root)
    text = '\n'.join(lines) + '\n'
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == '__main__':
    main()

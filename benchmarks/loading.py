"""Images per second of loading person crops, beside torchreid's loader.

    python benchmarks/loading.py --data-root data/market1501 \\
        --torchreid DEEP_PERSON_REID --out table.md

Every contender loads the same images of a training part, in the same shuffled
order, in this process and with the same number of workers, and ends with the
same thing: float32 batches, flipped at random, in RGB, normalised.

- torchreid: its `ImageDataset` and `build_transforms` (Pillow) and PyTorch's
  `DataLoader`, as its `ImageDataManager` builds them. It needs a checkout of
  deep-person-reid; nothing is installed for it, since only these three of its
  modules are imported.
- mmreid: a data set, MMEngine's `default_collate` and `DataLoader`, then
  `ReIDDataPreprocessor` on the CPU, which flips and normalises the batch.
  "Cold" decodes the files; "cached" has a `cache_dir`, which is filled before.
  "uint8" leaves the preprocessor out: in a training on a GPU it runs there.

The files are in the memory of the operating system for all. The clock starts
with the first batch, so the start of the workers does not count. Contenders
take turns. Without workers, time is processor time, so that other jobs on the
machine count less; with workers it is wall clock time.
"""

import argparse
import contextlib
import io
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import PIL
import torch
from evaluation import import_alone, read_field
from mmengine.dataset import default_collate
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import mmreid.datasets  # noqa: F401
import mmreid.models  # noqa: F401
from mmreid.registry import DATASETS, MODELS

# ImageNet's, as in build_transforms, of 255.
MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)
TORCHREID, COLD, CACHED = 'torchreid', 'mmreid, cold', 'mmreid, cached'
COLD_UINT8, CACHED_UINT8 = f'{COLD}, uint8', f'{CACHED}, uint8'
# How many times torchreid's images per second we want.
GOALS = {COLD: 3, CACHED: 10, COLD_UINT8: 3, CACHED_UINT8: 10}


def torchreid_datasets(
    checkout: Path | None, ours: Dataset, size: tuple[int, int]
) -> tuple[Dataset, Dataset] | None:
    """Its data set of the same images, as in training and as in testing."""
    if checkout is None:
        print('torchreid skipped: no --torchreid.')
        return None
    # Without its packages' own imports, that is without all its models and
    # data sets, and what these depend on (gdown, h5py, tensorboard).
    tools = import_alone('torchreid.utils.tools', checkout)
    for name in tools.__all__:
        setattr(sys.modules['torchreid.utils'], name, getattr(tools, name))
    transforms = import_alone('torchreid.data.transforms', checkout)
    dataset = import_alone('torchreid.data.datasets.dataset', checkout)
    infos = [ours.get_data_info(i) for i in range(len(ours))]
    images = [(i['img_path'], i['person_id'], i['camera_id']) for i in infos]
    with contextlib.redirect_stdout(io.StringIO()):  # It lists its steps.
        steps = transforms.build_transforms(*size)
    training, testing = (
        dataset.ImageDataset(
            images, images[:1], images[:1], transform=step, verbose=False
        )
        for step in steps
    )
    return training, testing


class Preprocess:
    """Flip and normalise a batch, as the training loop has it done."""

    def __init__(self) -> None:
        self.preprocessor = MODELS.build(
            dict(
                type='ReIDDataPreprocessor',
                mean=MEAN,
                std=STD,
                augmentations=[dict(type='RandomFlipCrop', padding=0)],
            )
        )
        self.iteration = 0

    def __call__(self, batch: dict, training: bool = True) -> Tensor:
        # What the preprocessor reads of a BatchInfo.
        info = SimpleNamespace(
            seed=0, iteration=self.iteration, domains=dict(source=slice(None))
        )
        self.iteration += 1
        # What a DomainDataset adds: all images are of one domain.
        samples = batch['data_samples']
        samples['domain'] = torch.zeros_like(samples['sample_idx'])
        return self.preprocessor(batch | dict(info=info), training)['inputs']


def batches(
    dataset: Dataset, order: list[int], batch_size: int, workers: int, **kwargs
) -> Iterator:
    loader = DataLoader(
        dataset,
        batch_size,
        sampler=order,
        num_workers=workers,
        drop_last=True,
        **kwargs,
    )
    return iter(loader)


def clock(workers: int) -> float:
    return time.perf_counter() if workers else time.process_time()


def measure(
    start: Callable[[], Iterator],
    finish: Callable[[dict], Tensor] | None,
    workers: int,
) -> float:
    """Images per second, from the first batch on."""
    images = 0
    iterator = start()
    next(iterator)
    begin = clock(workers)
    for batch in iterator:
        inputs = finish(batch) if finish else batch['inputs']
        images += len(inputs)
    return images / (clock(workers) - begin)


def race(
    contenders: dict[str, tuple], rounds: int, workers: int
) -> dict[str, list[float]]:
    speeds = {name: [] for name in contenders}
    for index in range(rounds):
        names = list(contenders)
        # In turn from the front and from the back.
        for name in names if index % 2 == 0 else names[::-1]:
            start, finish = contenders[name]
            speeds[name].append(measure(start, finish, workers))
            print(
                f'{workers} workers, {name}: {speeds[name][-1]:.0f} images/s',
                flush=True,
            )
    return speeds


def rows(speeds: dict[str, list[float]], workers: int) -> list[str]:
    medians = {name: statistics.median(v) for name, v in speeds.items()}
    lines = []
    for name, values in speeds.items():
        ratio = goal = ''
        if TORCHREID in speeds:
            # Of the same round, since the machine's load changes.
            ratios = [
                value / other
                for value, other in zip(values, speeds[TORCHREID], strict=True)
            ]
            median = statistics.median(ratios)
            ratio = f'{median:.1f} ({min(ratios):.1f}-{max(ratios):.1f})'
            if name in GOALS:
                reached = 'yes' if median >= GOALS[name] else 'no'
                goal = f'{GOALS[name]}: {reached}'
        lines.append(
            f'| {workers} | {name} | {medians[name]:.0f} '
            f'({min(values):.0f}-{max(values):.0f}) | '
            f'{1e6 / medians[name]:.0f} | {ratio} | {goal} |'
        )
    return lines


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--data-root', required=True)
    parser.add_argument('--type', default='Market1501', help='data set')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(256, 128),
        metavar=('HEIGHT', 'WIDTH'),
    )
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--images', type=int, default=6464, help='how many are loaded a round'
    )
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--torchreid',
        type=Path,
        metavar='PATH',
        help='checkout of deep-person-reid',
    )
    parser.add_argument(
        '--cache-dir', help='folder of the cache (default: a temporary one)'
    )
    parser.add_argument('--out', type=Path, help='file for the table')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # As a run's workers have it; its main process would have more.
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    height, width = args.size
    config = dict(
        type=args.type,
        data_root=args.data_root,
        pipeline=[
            dict(type='LoadReIDImage'),
            dict(type='mmcv.Resize', scale=(width, height)),
            dict(type='PackReIDInputs'),
        ],
    )
    with contextlib.ExitStack() as stack:
        cache_dir = args.cache_dir or stack.enter_context(
            tempfile.TemporaryDirectory()
        )
        cold = DATASETS.build(config)
        begin = time.perf_counter()
        cached = DATASETS.build(config | dict(cache_dir=cache_dir))
        seconds = time.perf_counter() - begin
        lines, agree = compare(args, cold, cached)
    lines[2:2] = [
        f'{args.type}, {len(cold)} images at {height}x{width}; the cache was '
        f'there after {seconds:.1f} s.',
        '',
    ]
    text = '\n'.join(lines) + '\n'
    print(text)
    if args.out:
        args.out.write_text(text)
    sys.exit(not agree)


def compare(
    args: argparse.Namespace, cold: Dataset, cached: Dataset
) -> tuple[list[str], bool]:
    """Lines of the report, and whether all deliver the same images."""
    order = np.random.default_rng(args.seed).permutation(len(cold))
    order = order[: args.images].tolist()
    process = Preprocess()
    other = torchreid_datasets(args.torchreid, cold, args.size)

    first = {}
    for name, dataset in ((COLD, cold), (CACHED, cached)):
        batch = default_collate([dataset[i] for i in order[: args.batch_size]])
        first[name] = batch['inputs'], process(batch, training=False)
    agree = torch.equal(first[COLD][0], first[CACHED][0])
    lines = [
        f'{read_field("/proc/cpuinfo", "model name")}, one thread a process; '
        f'Python {platform.python_version()}, PyTorch {torch.__version__}, '
        f'OpenCV {cv2.__version__}, Pillow {PIL.__version__}; '
        f'{len(order)} images a round, batches of {args.batch_size}.',
        '',
        f'Cold and cached images {"are equal" if agree else "DIFFER"}.',
    ]
    if other:
        theirs = torch.stack(
            [other[1][i]['img'] for i in order[: args.batch_size]]
        )
        difference = (theirs - first[COLD][1]).abs().mean().item()
        agree &= difference < 0.1
        lines[-1] += (
            " Of torchreid's test images, normalised, ours differ by "
            f'{difference:.3f} in the mean (Pillow and OpenCV).'
        )

    table = []
    for workers in args.workers:

        def start(dataset, workers=workers, **kwargs):
            return batches(dataset, order, args.batch_size, workers, **kwargs)

        def ours(dataset, start=start):
            return lambda: start(dataset, collate_fn=default_collate)

        contenders = {
            COLD: (ours(cold), process),
            CACHED: (ours(cached), process),
            COLD_UINT8: (ours(cold), None),
            CACHED_UINT8: (ours(cached), None),
        }
        if other:
            theirs = (
                lambda start=start: start(other[0]),
                lambda batch: batch['img'],
            )
            contenders = {TORCHREID: theirs, **contenders}
        race(contenders, 1, workers)  # To warm up.
        table += rows(race(contenders, args.rounds, workers), workers)
    lines += [
        '',
        '| workers | contender | images/s: median (min-max) | us/image | '
        '/ torchreid, in the same round | goal |',
        '| --: | --- | --: | --: | --: | --- |',
        *table,
    ]
    return lines, agree


if __name__ == '__main__':
    main()

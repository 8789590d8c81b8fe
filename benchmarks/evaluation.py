"""Time and memory of ranking a gallery, beside other toolboxes.

Each contender takes the features and returns rank-1 and mAP, so distances
are part of it. The matrix product of the same blocks alone is the bound.
Features are drawn: persons' centres and noise, of unit length, for which
cosine and Euclidean distances rank alike.

    python benchmarks/evaluation.py --torchreid DEEP_PERSON_REID \\
        --fast-reid FAST_REID --out table.md

Other toolboxes are no dependencies: one that is missing is skipped. Before,
build what the two checkouts have in Cython: `python setup.py build_ext
--inplace` in their `metrics/rank_cylib` or `evaluation/rank_cylib`. Needs
Linux.

Contenders take turns, each in a forked process of its own that has run once
on a tiny gallery. Its memory is how far the peak of its resident memory
rises from there (`ru_maxrss`), so the features do not count. On one thread
time is processor time (user and system), so that other jobs on the machine
count less; on more it is wall clock time.
"""

import argparse
import importlib
import importlib.util
import multiprocessing
import platform
import resource
import statistics
import sys
import time
import types
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from timeit import Timer
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid.evaluation import rank_metrics, rank_queries
from mmreid.evaluation.functional.distance import query_blocks
from mmreid.structures import FeatureSet

# Loops over the gallery in Python take 20 minutes at the next size.
PYTHON_PAIRS = 10**8
# Nothing is repeated once it has taken this many seconds.
LONG = 30
# Persons lie in so many dimensions, however long the features are.
LATENT = 64
# What rounding may change in rank-1 and mAP, which are in 0..1.
TOLERANCE = 1e-3


class Size(NamedTuple):
    queries: int
    gallery: int
    people: int
    cameras: int
    distractors: int
    # Standard deviation that makes rank-1 60 to 70 %.
    noise: float


SIZES = {
    'viper': Size(316, 316, 316, 2, 0, 1.22),
    'market1501': Size(3368, 15913, 750, 6, 2798, 1.38),
    'msmt17': Size(11659, 82161, 3060, 15, 0, 1.32),
}
TINY = Size(8, 60, 4, 2, 0, 1.0)


class Data(NamedTuple):
    """Features (Q, D) and (G, D), then ids and cameras (Q,) or (G,)."""

    query: Tensor
    gallery: Tensor
    query_ids: Tensor
    gallery_ids: Tensor
    query_cams: Tensor
    gallery_cams: Tensor

    def labels(self) -> list[np.ndarray]:
        return [value.numpy() for value in self[2:]]


class Contender(NamedTuple):
    name: str
    # Gives rank-1 and mAP, in 0..1; the matrix product gives None.
    run: Callable[[Data], tuple[float, float] | None]
    # Peak bytes for so many queries and gallery images.
    needs: Callable[[int, int], int] = lambda queries, gallery: 0
    max_pairs: float = float('inf')
    # How its mAP is defined, where that is not as everywhere.
    other_map: str = ''


def draw(size: Size, dim: int, seed: int) -> Data:
    """Each person walks past one camera after the other, in the gallery one
    camera ahead of the queries; a distractor is a person seen once."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    number = torch.arange(size.queries)
    query_ids = number % size.people
    query_cams = number // size.people % size.cameras
    extra = torch.arange(size.distractors)
    number = torch.arange(size.gallery - size.distractors)
    gallery_ids = torch.cat([number % size.people, size.people + extra])
    gallery_cams = torch.cat([number // size.people + 1, extra])
    order = torch.randperm(size.gallery, generator=generator)
    gallery_ids = gallery_ids[order]
    gallery_cams = gallery_cams[order] % size.cameras
    centres = normal(size.people + size.distractors, LATENT)
    # An orthonormal basis keeps all angles: longer features are no easier.
    basis = torch.linalg.qr(normal(dim, LATENT))[0].T

    def features(ids: Tensor) -> Tensor:
        latent = centres[ids] + size.noise * normal(len(ids), LATENT)
        return F.normalize(latent) @ basis

    return Data(
        features(query_ids),
        features(gallery_ids),
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
    )


def difficulty(data: Data) -> str:
    """Where ours looks again: as deep as the last true match lies."""
    result = rank_queries(
        FeatureSet(data.query, data.query_ids, data.query_cams),
        FeatureSet(data.gallery, data.gallery_ids, data.gallery_cams),
    )
    num_cameras = int(data.gallery_cams.max()) + 1
    own = data.query_ids * num_cameras + data.query_cams
    seen = torch.bincount(
        data.gallery_ids * num_cameras + data.gallery_cams,
        minlength=int(own.max()) + 1,
    )
    matches = torch.bincount(data.gallery_ids)[data.query_ids] - seen[own]
    share = (matches / result.inp).mean().item() / len(data.gallery)
    return (
        f'{matches.float().mean():.1f} true matches a query, the last behind '
        f'{100 * share:.0f} % of the gallery'
    )


def run_ours(data: Data) -> tuple[float, float]:
    metrics = rank_metrics(*data)
    return metrics['rank-1'] / 100, metrics['mAP'] / 100


def run_matmul(data: Data) -> None:
    shape = len(data.query), len(data.gallery)
    for rows in query_blocks(shape, None, (0, 1)):
        torch.mm(data.query[rows], data.gallery.T)


def import_alone(module: str, root: Path) -> types.ModuleType:
    """Import a module without the packages around it: those of both
    toolboxes import all models and engines, and what these depend on."""
    parents = module.split('.')[:-1]
    for end in range(1, len(parents) + 1):
        name = '.'.join(parents[:end])
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(root.joinpath(*parents[:end]))]
    return importlib.import_module(module)


def torchreid(checkout: Path | None) -> list[Contender]:
    if checkout is None:
        spec = importlib.util.find_spec('torchreid')
        if spec is None:
            print('torchreid skipped: not installed, no --torchreid.')
            return []
        checkout = Path(spec.origin).parents[1]
    # The package of PyPI has one more level than the repository.
    nested = (checkout / 'torchreid' / 'reid').is_dir()
    name = 'torchreid.reid.metrics' if nested else 'torchreid.metrics'
    metrics = import_alone(name, checkout)

    def run(data: Data, use_cython: bool) -> tuple[float, float]:
        distances = metrics.compute_distance_matrix(
            data.query, data.gallery, 'cosine'
        ).numpy()
        cmc, mean_ap = metrics.evaluate_rank(
            distances, *data.labels(), use_cython=use_cython
        )
        return float(cmc[0]), float(mean_ap)

    def needs(queries: int, gallery: int) -> int:
        # Distances, order, the ids in this order, where they are the query's
        # (all at once for the whole gallery).
        return (4 + 8 + 8 + 1) * queries * gallery

    contenders = [
        Contender(
            'torchreid, Python',
            lambda data: run(data, False),
            needs,
            PYTHON_PAIRS,
        )
    ]
    if sys.modules[f'{name}.rank'].IS_CYTHON_AVAI:
        contenders.append(
            Contender('torchreid, Cython', lambda data: run(data, True), needs)
        )
    else:
        print('torchreid, Cython skipped: not built.')
    return contenders


def fast_reid(checkout: Path | None) -> list[Contender]:
    if checkout is None:
        print('fast-reid skipped: no --fast-reid.')
        return []
    module = import_alone('fastreid.evaluation.rank', checkout)
    cython = module.IS_CYTHON_AVAI

    def run(data: Data) -> tuple[float, float]:
        # Its compute_cosine_distance, whose module needs faiss.
        query, gallery = F.normalize(data.query), F.normalize(data.gallery)
        distances = (1 - torch.mm(query, gallery.t())).numpy()
        cmc, ap, _ = module.evaluate_rank(distances, *data.labels())
        return float(cmc[0]), float(np.mean(ap))

    def needs(queries: int, gallery: int) -> int:
        return (4 + 8) * queries * gallery

    return [
        Contender(
            f'fast-reid, {"Cython" if cython else "Python"}',
            run,
            needs,
            float('inf') if cython else PYTHON_PAIRS,
        )
    ]


def open_metric_learning() -> list[Contender]:
    try:
        from oml.const import BS_KNN
        from oml.functional.knn import batched_knn_qg
        from oml.functional.metrics import calc_retrieval_metrics
    except ImportError as error:
        print(f'open-metric-learning skipped: {error}.')
        return []

    def run(data: Data, top: int) -> tuple[float, float]:
        # Members of one sequence are ignored: here a person in a camera.
        num_cameras = int(data.gallery_cams.max()) + 1
        _, retrieved, matches = batched_knn_qg(
            data.query,
            data.gallery,
            top,
            data.query_ids,
            data.gallery_ids,
            sequence_ids_query=data.query_ids * num_cameras + data.query_cams,
            sequence_ids_gallery=data.gallery_ids * num_cameras
            + data.gallery_cams,
        )
        metrics = calc_retrieval_metrics(
            retrieved,
            matches,
            cmc_top_k=(1,),
            precision_top_k=(),
            map_top_k=(top,),
            verbose=False,
        )
        return metrics['cmc'][1].item(), metrics['map'][top].item()

    def needs_top(queries: int, gallery: int) -> int:
        # Per block: distances, three masks.
        return (4 + 3) * min(queries, BS_KNN) * gallery

    def needs_all(queries: int, gallery: int) -> int:
        # Then the sorted block, and the sorted rows of all blocks.
        block = needs_top(queries, gallery)
        block += (4 + 8) * min(queries, BS_KNN) * gallery
        return block + (4 + 8) * queries * gallery

    label = f'OML {version("open-metric-learning")}'
    return [
        Contender(
            f'{label}, first 100',
            lambda data: run(data, 100),
            needs_top,
            other_map='over the matches among the first 100',
        ),
        Contender(
            f'{label}, all',
            lambda data: run(data, len(data.gallery)),
            needs_all,
        ),
    ]


def peak_memory() -> int:
    """The most bytes that this process has had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_forked(task: Callable, *args):
    """What a task returns in a forked process of its own, whose peak of the
    memory is nobody else's; None if the process did not survive."""
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(task(*args)))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return None
    finally:
        process.join()


def measure(
    contender: Contender, data: Data, threads: int
) -> tuple[float, float, tuple[float, float] | None]:
    """Seconds, peak bytes, metrics; in a process of its own."""
    torch.set_num_threads(threads)
    contender.run(draw(TINY, data.query.shape[1], seed=0))
    before = peak_memory()
    results = []
    # As often as takes 0.2 seconds: VIPeR takes milliseconds.
    number, seconds = Timer(
        lambda: results.append(contender.run(data)),
        timer=time.process_time if threads == 1 else time.perf_counter,
    ).autorange()
    return seconds / number, peak_memory() - before, results[0]


def read_field(path: str, name: str) -> str:
    """A field of one of the kernel's files, such as /proc/cpuinfo."""
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(':')
        if key.strip() == name:
            return value.strip()
    return 'unknown'


def reason_to_skip(contender: Contender, size: Size) -> str:
    if size.queries * size.gallery > contender.max_pairs:
        return 'loops over the gallery in Python'
    needs = contender.needs(size.queries, size.gallery)
    available = int(read_field('/proc/meminfo', 'MemAvailable').split()[0])
    if needs > 0.75 * available * 1024:
        return (
            f'needs about {needs / 1e9:.1f} GB, more than three quarters of '
            f'the {available * 1024 / 1e9:.1f} GB that are free'
        )
    return ''


def race(
    contenders: list[Contender],
    name: str,
    data: Data,
    repeats: int,
    threads: int,
) -> tuple[list[str], bool]:
    """Rows of the table, and whether all agree on rank-1 and mAP."""
    seconds = {contender.name: [] for contender in contenders}
    peaks = {contender.name: [] for contender in contenders}
    metrics, skipped = {}, {}
    for _ in range(repeats):
        for contender in contenders:
            key = contender.name
            if key in skipped or sum(seconds[key]) > LONG:
                continue
            reason = reason_to_skip(contender, SIZES[name])
            found = (
                None
                if reason
                else run_forked(measure, contender, data, threads)
            )
            if found is None:
                skipped[key] = reason or 'ended without a result'
                print(f'{key} skipped at {name}: {skipped[key]}.')
                continue
            seconds[key].append(found[0])
            peaks[key].append(found[1])
            metrics[key] = found[2]
            print(f'{name} {key}: {found[0]:.3g} s', flush=True)
    medians = {
        key: statistics.median(value)
        for key, value in seconds.items()
        if value
    }
    ours, matmul = (contender.name for contender in contenders[:2])
    rows, agree = [], True
    for contender in contenders:
        key = contender.name
        row = [name, key]
        if key not in medians:
            row += [f'skipped: {skipped[key]}'] + [''] * 6
            rows.append(f'| {" | ".join(row)} |')
            continue
        row += [
            f'{medians[key]:.3g} ({min(seconds[key]):.3g}-'
            f'{max(seconds[key]):.3g})',
            str(len(seconds[key])),
            f'{medians[key] / medians[ours]:.2f}',
            f'{medians[key] / medians[matmul]:.2f}',
            f'{statistics.median(peaks[key]) / 1e6:.0f}',
        ]
        if metrics[key] is None:
            row += ['', '']
        else:
            row += [f'{100 * value:.3f}' for value in metrics[key]]
            compared = 1 if contender.other_map else 2
            agree &= all(
                abs(metrics[key][i] - metrics[ours][i]) <= TOLERANCE
                for i in range(compared)
            )
            if contender.other_map:
                row[-1] += f' ({contender.other_map})'
        rows.append(f'| {" | ".join(row)} |')
    return rows, agree


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--sizes', nargs='+', choices=SIZES, default=list(SIZES)
    )
    parser.add_argument('--dim', type=int, default=512, help='at least 64')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--torchreid',
        type=Path,
        metavar='PATH',
        help='checkout of deep-person-reid (default: the installed package)',
    )
    parser.add_argument(
        '--fast-reid', type=Path, metavar='PATH', help='checkout of fast-reid'
    )
    parser.add_argument('--out', type=Path, help='file for the table')
    args = parser.parse_args()
    if args.dim < LATENT:
        parser.error(f'--dim must be at least {LATENT}, got {args.dim}.')
    return args


def main() -> None:
    args = parse_args()
    # A forked process cannot use the threads of the one it comes from.
    torch.set_num_threads(1)
    contenders = [
        Contender('mmreid', run_ours),
        Contender('matrix product', run_matmul),
        *fast_reid(args.fast_reid),
        *torchreid(args.torchreid),
        *open_metric_learning(),
    ]
    clock = 'processor' if args.threads == 1 else 'wall clock'
    lines = [
        f'{read_field("/proc/cpuinfo", "model name")}, {args.threads} '
        f'thread(s); Python {platform.python_version()}, PyTorch '
        f'{torch.__version__}, NumPy {np.__version__}; seed {args.seed}, '
        f'{args.dim} dimensions.',
        '',
    ]
    rows, agree = [], True
    for name in args.sizes:
        data = draw(SIZES[name], args.dim, args.seed)
        lines.append(
            f'- {name}: {len(data.query)} x {len(data.gallery)}, '
            f'{difficulty(data)}.'
        )
        new_rows, agrees = race(
            contenders, name, data, args.repeats, args.threads
        )
        rows += new_rows
        agree &= agrees
    lines += [
        '',
        f'| size | contender | {clock} time, s: median (min-max) | runs | '
        '/ mmreid | / matrix product | memory, MB | rank-1 | mAP |',
        '| --- | --- | --- | --: | --: | --: | --: | --: | --: |',
        *rows,
        '',
        f'Rank-1 and mAP {"agree" if agree else "DO NOT AGREE"} to '
        f'{100 * TOLERANCE:g} points, where mAP means the same.',
    ]
    text = '\n'.join(lines) + '\n'
    print(text)
    if args.out:
        args.out.write_text(text)
    sys.exit(not agree)


if __name__ == '__main__':
    main()

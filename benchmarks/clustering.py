"""Time and memory of the Jaccard distance that clusterings take.

Ours (`jaccard_graph`, then DBSCAN on the sparse graph) beside the published
code of Cluster Contrast (https://github.com/alibaba/cluster-contrast-reid,
`compute_jaccard_distance` on a CPU, then DBSCAN on its N x N matrix), which is
that of SpCL and most clusterings since. The bound is the matrix product of all
pairs alone. Features are drawn: persons' centres and noise, of unit length.

    OMP_NUM_THREADS=1 python benchmarks/clustering.py \\
        --cluster-contrast CLUSTER_CONTRAST_REID --out table.md

The published code is no dependency: without its checkout it is skipped. It
needs faiss (`pip install faiss-cpu`).

Contenders take turns, each in a forked process of its own that has run once
on 1,000 images. Memory is how far the peak of its resident memory rises from
there, so the features do not count. On one thread time is processor time, so
that other jobs on the machine count less; on more it is wall clock time. The
clusterings are compared by the adjusted Rand index: the published search
counts the image itself among the k1 nearest, so its sets are smaller by one.
"""

import argparse
import contextlib
import io
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from evaluation import (
    LATENT,
    import_alone,
    peak_memory,
    read_field,
    run_forked,
)
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from mmreid.evaluation import camera_aware_jaccard_graph, jaccard_graph
from mmreid.evaluation.functional.distance import query_blocks
from mmreid.structures import FeatureSet

EPS = 0.4
OURS = 'mmreid'
CAMERAS = 6


def draw(num: int, dim: int, seed: int) -> FeatureSet:
    """17 images of each person, as Market-1501 has; a tenth are alone."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.arange(num) // 17
    alone = torch.rand(num, generator=generator) < 0.1
    ids[alone] = len(ids) + torch.arange(int(alone.sum()))
    ids = ids.unique(return_inverse=True)[1]
    centres = torch.randn(int(ids.max()) + 1, LATENT, generator=generator)
    noise = torch.randn(num, LATENT, generator=generator)
    basis = torch.linalg.qr(torch.randn(dim, LATENT, generator=generator))[0]
    features = F.normalize(centres[ids] + 0.9 * noise) @ basis.T
    return FeatureSet(features, ids, torch.arange(num) % CAMERAS)


def cluster(distance) -> np.ndarray:
    return DBSCAN(EPS, min_samples=4, metric='precomputed').fit_predict(
        distance
    )


def ours(images: FeatureSet) -> np.ndarray:
    return cluster(jaccard_graph(images, EPS, k1=30, k2=6))


def camera_aware(images: FeatureSet) -> np.ndarray:
    return cluster(camera_aware_jaccard_graph(images, EPS))


def matmul(images: FeatureSet) -> None:
    num = len(images)
    for rows in query_blocks((num, num), None, (0, 1)):
        torch.mm(images.features[rows], images.features.T)


def published(checkout: Path) -> Callable:
    module = import_alone('clustercontrast.utils.faiss_rerank', checkout)

    def run(images: FeatureSet) -> np.ndarray:
        with contextlib.redirect_stdout(io.StringIO()):
            distance = module.compute_jaccard_distance(
                images.features, k1=30, k2=6, search_option=3
            )
        return cluster(distance)

    return run


def measure(run: Callable, images: FeatureSet, threads: int) -> tuple:
    """Seconds, bytes and labels, in a process of its own."""
    torch.set_num_threads(threads)
    run(draw(1000, images.features.shape[1], 1))
    clock = time.process_time if threads == 1 else time.perf_counter
    before, start = peak_memory(), clock()
    labels = run(images)
    return clock() - start, peak_memory() - before, labels


def race(contenders: dict[str, Callable], images: FeatureSet, args) -> str:
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    memory, labels = {}, {}
    for _ in range(args.rounds):
        for name, run in contenders.items():
            found = run_forked(measure, run, images, args.threads)
            if found is None:
                raise SystemExit(f'{name} did not survive: too little memory?')
            seconds[name].append(found[0])
            memory[name] = max(found[1], memory.get(name, 0))
            labels[name] = found[2]
    lines = [
        '| | seconds: median (min-max) | over ours | MB | agreement |',
        '| --- | --: | --: | --: | --: |',
    ]
    own = seconds[OURS]
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(values, own, strict=True)]
        agreement = '-'
        if labels[name] is not None:
            score = adjusted_rand_score(labels[OURS], labels[name])
            agreement = f'{score:.3f}'
        lines.append(
            f'| {name} | {_spread(values, 1)} | {_spread(ratios, 2)} '
            f'| {memory[name] / 1e6:.0f} | {agreement} |'
        )
    return '\n'.join(lines)


def _spread(values: list[float], digits: int) -> str:
    middle = f'{statistics.median(values):.{digits}f}'
    if len(values) == 1:
        return middle
    return f'{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--images', type=int, default=12936)
    parser.add_argument('--dim', type=int, default=2048)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument(
        '--cluster-contrast', type=Path, help='checkout of the published code'
    )
    parser.add_argument('--out', type=Path, help='also write the table there')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    images = draw(args.images, args.dim, 0)
    contenders: dict[str, Callable] = {
        OURS: ours,
        f'{OURS}, camera-aware': camera_aware,
        'matrix product of all pairs alone': matmul,
    }
    if args.cluster_contrast:
        contenders['Cluster Contrast'] = published(args.cluster_contrast)
    torch.set_num_threads(1)  # forked processes start their own
    table = (
        f'{args.images} images of {args.dim} values, {args.threads} '
        f'thread(s), {args.rounds} round(s); '
        f'{read_field("/proc/cpuinfo", "model name")}; Python '
        f'{platform.python_version()}, PyTorch {torch.__version__}.\n\n'
        + race(contenders, images, args)
    )
    print(table)
    if args.out:
        args.out.write_text(table + '\n')


if __name__ == '__main__':
    main()

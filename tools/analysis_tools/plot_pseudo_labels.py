"""How well mined pairs or clusters fit the persons, over a run.

Reads a ``scalars.json``, or all that are in a work dir (one of each run,
``<time>/vis_data/``), as a config with ``PairMiningHook(purity=True)`` or
``PseudoLabelHook(quality=True)`` leaves them. Of clusters without labels it
shows what can be known: their number and what part of the images is in one.
"""

import argparse
import glob
import json
import os.path as osp

import matplotlib

from mmreid.errors import InputError

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

from mmreid.utils import exit_with_message, picture_path  # noqa: E402

# Per cent; the first key of a group says that a log has it.
GROUPS = [
    dict(
        purity_positives='mined positives of one person',
        purity_negatives='mined hard negatives of one person',
    ),
    dict(
        clustered='images in a cluster',
        cluster_purity='purity',
        pair_precision='pair precision',
        pair_recall='pair recall',
        pair_f1='pair F1',
    ),
]
STYLES = ['-', '--', ':', '-.', (0, (1, 3))]


def read_curves(path: str) -> dict[str, list[tuple[int, float]]]:
    """Points (iteration, value) of a log's curves.

    Where a run was resumed, what it logged anew replaces what was there.

    Args:
        path (str): A ``scalars.json``, or a folder that has some.

    Returns:
        dict[str, list[tuple[int, float]]]: The keys of a group that the log
        has, and ``clusters``.

    Raises:
        FileNotFoundError: If there is no log.
        InputError: If it has none of them.
    """
    logs = [path]
    if osp.isdir(path):
        logs = sorted(
            glob.glob(osp.join(path, '**', 'scalars.json'), recursive=True)
        )
    if not all(map(osp.isfile, logs)) or not logs:
        raise FileNotFoundError(
            f"'{path}' must be a scalars.json, or a work dir with one in "
            '<time>/vis_data/.'
        )
    by_step: dict[int, dict] = {}
    for log in logs:
        with open(log, encoding='utf-8') as file:
            written = file.read().splitlines()
        for number, text in enumerate(written, 1):
            try:
                line = json.loads(text)
                step = line['step']
            except (ValueError, TypeError, KeyError) as error:
                if number == len(written):
                    continue  # cut off by a kill
                raise InputError(
                    f"Line {number} of '{log}' is no line of a training's "
                    'log, a JSON object with a step.'
                ) from error
            # A validation logs for the same step what is its own.
            by_step.setdefault(step, {}).update(line)
    lines = [by_step[step] for step in sorted(by_step)]
    for group in GROUPS:
        curves = {
            key: [(line['step'], line[key]) for line in lines if key in line]
            for key in [*group, 'clusters']
        }
        if curves[next(iter(group))]:
            return {key: points for key, points in curves.items() if points}
    raise InputError(
        f"'{path}' logs neither mined pairs' purity nor clusters: train with "
        'PairMiningHook(purity=True) and a miner, or with a cluster method.'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('log', help='path of a scalars.json, or a work dir')
    parser.add_argument('out', type=picture_path, help='picture to write')
    args = parser.parse_args()
    curves = read_curves(args.log)
    number = curves.pop('clusters', None)
    titles = GROUPS[0] | GROUPS[1]
    figure, axes = plt.subplots(figsize=(7.5, 3.2), layout='constrained')
    for (key, points), style in zip(curves.items(), STYLES, strict=False):
        axes.plot(*zip(*points, strict=True), ls=style, label=titles[key])
    axes.set(xlabel='iteration', ylabel='per cent', ylim=(0, 100))
    if number:
        counts = axes.twinx()
        counts.plot(*zip(*number, strict=True), 'k', lw=0.8, label='clusters')
        counts.set(ylabel='clusters')
        counts.set_ylim(0, 1.1 * max(1, *(count for _, count in number)))
        # One legend for both axes.
        axes.plot([], [], 'k', lw=0.8, label='clusters (right)')
    # Beside the curves, which may be anywhere.
    handles, _ = axes.get_legend_handles_labels()
    figure.legend(handles=handles, loc='outside right upper', fontsize='small')
    figure.savefig(args.out, dpi=120)


if __name__ == '__main__':
    with exit_with_message():
        main()

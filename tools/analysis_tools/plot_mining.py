"""Curve of the mined pairs' purity over a run.

Reads the ``scalars.json`` of a work dir (``<time>/vis_data/``), as a config
with ``PairMiningHook(purity=True)`` leaves it.
"""

import argparse
import json

import matplotlib

from mmreid.errors import InputError

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

from mmreid.utils import exit_with_message  # noqa: E402

KEYS = dict(
    purity_positives='mined positives of one person',
    purity_negatives='mined hard negatives of one person',
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('log', help='path of a scalars.json')
    parser.add_argument('out', help='picture to write')
    args = parser.parse_args()
    with open(args.log, encoding='utf-8') as file:
        lines = [json.loads(line) for line in file]
    lines = [line for line in lines if 'purity_positives' in line]
    if not lines:
        raise InputError(
            f"'{args.log}' logs no purity_positives: train with "
            'PairMiningHook(purity=True) and a miner.'
        )
    figure, axes = plt.subplots(figsize=(6, 3), layout='constrained')
    for (key, label), style in zip(KEYS.items(), ('-', '--'), strict=True):
        points = [(line['step'], line[key]) for line in lines if key in line]
        axes.plot(*zip(*points, strict=True), style, label=label)
    axes.set(xlabel='iteration', ylabel='per cent', ylim=(0, 100))
    axes.legend()
    figure.savefig(args.out, dpi=120)


if __name__ == '__main__':
    with exit_with_message():
        main()

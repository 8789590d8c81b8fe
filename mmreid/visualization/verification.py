"""Pictures of how well a threshold on the distance tells persons apart."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmreid.structures import VerificationResult

__all__ = ['draw_verification']

# Told apart with any colour vision (Okabe and Ito), and by line besides.
_SAME, _OTHER, _NEUTRAL = '#009E73', '#D55E00', '#444444'
_CURVE, _FRAME = '#0072B2', '#BBBBBB'


def draw_verification(
    result: VerificationResult,
    out_file: str | Path,
    title: str | None = None,
) -> None:
    """Draw the ROC curve, and beside it the distances of the pairs.

    The left panel marks the true positive rate at each false positive rate
    of the result; the right one has a dotted line at each threshold, and at
    most 60 bins, of so many of the result's as it takes.

    Args:
        result (VerificationResult): What :func:`mmreid.evaluation.verify`
            returned.
        out_file (str): The picture to write, for instance a .png. Its
            folder is made if it is missing.
        title (str, optional): Headline. Defaults to None.
    """
    figure = Figure(figsize=(9, 4), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    curve, histogram = figure.subplots(1, 2)
    _draw_curve(curve, result)
    _draw_histogram(histogram, result)
    for axes in (curve, histogram):
        axes.spines[['top', 'right']].set_visible(False)
        axes.spines[['left', 'bottom']].set_color(_FRAME)
        axes.tick_params(color=_FRAME, labelcolor=_NEUTRAL, which='both')
        # Above the panel, where no curve can run into it.
        axes.legend(
            loc='lower right',
            bbox_to_anchor=(1, 1),
            ncols=2,
            frameon=False,
            fontsize=9,
        )
    if title:
        figure.suptitle(title, fontsize=12, weight='bold')
    Path(out_file).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file)


def _draw_curve(axes: Axes, result: VerificationResult) -> None:
    # Between the least rate that one false positive makes, or the least
    # asked, and 1; of the vertical steps only the end matters.
    start = min(1 / result.num_negative, *result.tpr)
    wrong, first = np.unique(result.false_positives.numpy(), return_index=True)
    right = np.append(first[1:], result.num_positive) / result.num_positive
    wrong = wrong / result.num_negative
    at_start = np.max(right[wrong <= start], initial=0)
    seen = wrong > start
    axes.step(
        np.concatenate([[start], wrong[seen], [1]]),
        100 * np.concatenate([[at_start], right[seen], [1]]),
        where='post',
        color=_CURVE,
        label=f'AUC {100 * result.auc:.2f} %',
    )
    chance = np.geomspace(start, 1, 200)
    axes.plot(
        chance, 100 * chance, '--', color=_FRAME, label='chance', zorder=1
    )
    for fpr, tpr in result.tpr.items():
        axes.plot(
            fpr,
            100 * tpr,
            'o',
            color=_CURVE,
            markeredgecolor='white',
            clip_on=False,
            zorder=3,
        )
        # Below and right of a rising curve there is room; above where the
        # point lies at the foot.
        high = tpr > 0.12
        axes.annotate(
            f'{100 * tpr:.1f} %',
            (fpr, 100 * tpr),
            xytext=(7, -4) if high else (0, 7),
            textcoords='offset points',
            ha='left' if high else 'center',
            va='top' if high else 'bottom',
            fontsize=9,
            color=_NEUTRAL,
        )
    axes.set(
        xscale='log',
        xlim=(start, 1),
        ylim=(0, 102),
        xlabel='false positive rate',
        ylabel='true positive rate (%)',
    )
    axes.grid(color=_FRAME, alpha=0.4, linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_histogram(axes: Axes, result: VerificationResult) -> None:
    # So few bins that the positive pairs of a small set do not flicker.
    starts = np.arange(
        0, len(result.negative_counts), -(-len(result.negative_counts) // 60)
    )
    edges = result.bin_edges.double().numpy()
    edges = np.append(edges[starts], edges[-1])
    for counts, color, line, label in (
        (result.positive_counts, _SAME, '-', 'same person'),
        (result.negative_counts, _OTHER, '--', 'another person'),
    ):
        pairs = np.add.reduceat(counts.numpy(), starts)
        density = pairs / (pairs.sum() * np.diff(edges))
        axes.stairs(density, edges, color=color, alpha=0.25, fill=True)
        axes.stairs(
            density,
            edges,
            color=color,
            linestyle=line,
            linewidth=1.4,
            label=label,
        )
    # The line of the least rate is the highest, so none crosses a label.
    step = 0.06
    axes.set(
        xlim=(edges[0], edges[-1]),
        ylim=(0, axes.get_ylim()[1] * (1 + step * len(result.threshold))),
        xlabel='distance',
        ylabel='density',
    )
    for number, fpr in enumerate(sorted(result.threshold)):
        threshold, top = result.threshold[fpr], 1 - step * number
        axes.axvline(
            threshold, ymax=top, color=_NEUTRAL, linestyle=':', linewidth=1
        )
        axes.annotate(
            f'FPR {fpr:g}',
            (threshold, top),
            xycoords=('data', 'axes fraction'),
            xytext=(3, 0),
            textcoords='offset points',
            va='top',
            fontsize=8,
            color=_NEUTRAL,
        )

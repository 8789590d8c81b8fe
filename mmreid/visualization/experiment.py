"""A picture of a table: a dot per line, or a curve."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ['draw_experiment']

# Told apart with any colour vision (Okabe and Ito), and by form besides.
_OURS, _PAPER, _FRAME, _NEUTRAL = '#0072B2', '#D55E00', '#BBBBBB', '#444444'


def draw_experiment(
    lines: Sequence[dict],
    columns: Sequence[str],
    out_file: str | Path,
    x: str = '',
) -> None:
    """Draw the first and the last metric of a table.

    Args:
        lines (Sequence[dict]): Each with ``title``, ``mean``, ``std`` and
            ``paper``, dicts by metric, and ``x``, its place on a curve.
        columns (Sequence[str]): The table's metrics.
        out_file (str): The picture to write, for instance a .png.
        x (str): Name of the horizontal axis of a curve. Defaults to '': no
            curve, but a dot for each line of the table.
    """
    lines = [line for line in lines if line['mean']]
    shown = [
        metric
        for metric in dict.fromkeys((columns[0], columns[-1]))
        if any(metric in line['mean'] for line in lines)
    ]
    height = 3.5 if x else 1.2 + 0.3 * len(lines)
    figure = Figure(figsize=(9, height), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(shown), squeeze=False, sharey=not x)[0]
    for axes, metric in zip(panels, shown, strict=True):
        measured = [line for line in lines if metric in line['mean']]
        mean = [line['mean'][metric] for line in measured]
        std = [line['std'][metric] or 0 for line in measured]
        if x:
            places = [line['x'] for line in measured]
            axes.errorbar(
                places, mean, std, marker='o', color=_OURS, capsize=3
            )
            axes.set_xlabel(x, color=_NEUTRAL)
            if min(places) > 0 and max(places) / min(places) > 20:
                axes.set_xscale('log')
            axes.set_ylabel(metric, color=_NEUTRAL)
        else:
            places = [*range(len(measured))]
            axes.errorbar(
                mean,
                places,
                xerr=std,
                fmt='o',
                color=_OURS,
                capsize=3,
                label='measured',
            )
            paper = [
                (line['paper'][metric], place)
                for place, line in zip(places, measured, strict=True)
                if metric in line['paper']
            ]
            if paper:
                axes.plot(
                    *zip(*paper, strict=True),
                    'D',
                    color=_PAPER,
                    mfc='none',
                    label='the paper, its data',
                )
                axes.legend(frameon=False, fontsize=8)
            axes.set_yticks(places, [line['title'] for line in measured])
            axes.set_ylim(len(measured) - 0.5, -0.5)
            axes.set_xlabel(metric, color=_NEUTRAL)
            axes.set_xlim(left=0)
        axes.grid(axis='both' if x else 'x', color=_FRAME, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.spines[['top', 'right']].set_visible(False)
        axes.spines[['left', 'bottom']].set_color(_FRAME)
        axes.tick_params(color=_FRAME, labelcolor=_NEUTRAL, labelsize=9)
    Path(out_file).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file)

"""Pictures of how nearly values are normal."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ['Histogram', 'draw_histograms']

_BARS, _CURVE, _FRAME, _NEUTRAL = '#0072B2', '#D55E00', '#BBBBBB', '#444444'


@dataclass
class Histogram:
    """A histogram, and the normal distribution that is laid over it.

    Attributes:
        title (str): Of the panel.
        density (np.ndarray): (B, ).
        edges (np.ndarray): (B + 1, ).
        mean (float): Of the normal distribution.
        std (float): Of the normal distribution.
        note (str): Written in the panel. Defaults to ''.
    """

    title: str
    density: np.ndarray
    edges: np.ndarray
    mean: float
    std: float
    note: str = ''


def draw_histograms(
    histograms: Sequence[Histogram],
    out_file: str | Path,
    xlabel: str,
    title: str | None = None,
) -> None:
    """Draw histograms on common axes, each with its normal distribution.

    Args:
        histograms (Sequence[Histogram]): One per panel.
        out_file (str): The picture to write, for instance a .png. Its
            folder is made if it is missing.
        xlabel (str): What the values are.
        title (str, optional): Headline. Defaults to None.
    """
    columns = min(4, len(histograms))
    rows = -(-len(histograms) // columns)
    figure = Figure(
        figsize=(3 * columns, 2.4 * rows + 0.4), dpi=100, layout='constrained'
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(
        rows, columns, squeeze=False, sharex=True, sharey=True
    ).ravel()
    for axes in panels[len(histograms) :]:
        axes.set_visible(False)
    for axes, one in zip(panels, histograms, strict=False):
        axes.stairs(one.density, one.edges, color=_BARS, alpha=0.35, fill=True)
        x = np.linspace(one.edges[0], one.edges[-1], 300)
        normal = np.exp(-(((x - one.mean) / one.std) ** 2) / 2)
        normal /= one.std * np.sqrt(2 * np.pi)
        axes.plot(x, normal, color=_CURVE, linewidth=1.4)
        axes.set_title(one.title, fontsize=10, color=_NEUTRAL)
        axes.text(
            0.03,
            0.96,
            one.note,
            transform=axes.transAxes,
            va='top',
            fontsize=8,
            color=_NEUTRAL,
        )
        axes.spines[['top', 'right']].set_visible(False)
        axes.spines[['left', 'bottom']].set_color(_FRAME)
        axes.tick_params(color=_FRAME, labelcolor=_NEUTRAL, labelsize=8)
    figure.supxlabel(xlabel, fontsize=9, color=_NEUTRAL)
    figure.supylabel('density', fontsize=9, color=_NEUTRAL)
    if title:
        figure.suptitle(title, fontsize=12, weight='bold')
    Path(out_file).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_file)

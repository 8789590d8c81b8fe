r"""Formulas of the average precision, by name.

With :math:`p_j` the 0-based rank of true match :math:`j = 0..n-1`, the average
precision is :math:`\frac{1}{n} \sum_j a_j` with

* ``'standard'``: :math:`a_j = r_j = \frac{j + 1}{p_j + 1}`, which most
  toolboxes report;
* ``'trapezoid'``: :math:`a_j = (o_j + r_j) / 2` with :math:`o_j = j / p_j`, or
  1 if :math:`p_j = 0`: the script that came with Market-1501;
* ``'mar'``: the same, but :math:`o_j = 1` if :math:`j = 0`: the published code
  of MAR. A first match at a low rank still counts half, which flatters weak
  models; use it to compare with that paper only.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ['AP_FORMULAS', 'average_precision']


def _standard(hit: Tensor, position: Tensor) -> Tensor:
    return (hit + 1) / (position + 1)


def _trapezoid(hit: Tensor, position: Tensor) -> Tensor:
    before = torch.where(position == 0, 1.0, hit / position.clamp(min=1))
    return (before + _standard(hit, position)) / 2


def _mar(hit: Tensor, position: Tensor) -> Tensor:
    before = torch.where(hit == 0, 1.0, hit / position.clamp(min=1))
    return (before + _standard(hit, position)) / 2


AP_FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = dict(
    standard=_standard, trapezoid=_trapezoid, mar=_mar
)
"""From j and its rank to what it adds to the mean, both float64."""


def average_precision(
    position: Tensor, num_matches: Tensor, formula: str = 'standard'
) -> Tensor:
    """Average precision of queries whose true matches have these ranks.

    Args:
        position (Tensor): 0-based ranks of the true matches, ascending; of
            any value beyond the last match. Shape (Q, M), int64.
        num_matches (Tensor): How many true matches each query has. Shape
            (Q,), int64.
        formula (str): A name of :data:`AP_FORMULAS`. Defaults to 'standard'.

    Returns:
        Tensor: In 0..1, 0 for a query without a true match. Shape (Q,),
        float64.
    """
    hit = torch.arange(position.shape[1], device=position.device)
    precision = AP_FORMULAS[formula](hit.double(), position.double())
    precision *= hit < num_matches[:, None]
    return precision.sum(1) / num_matches.clamp(min=1)

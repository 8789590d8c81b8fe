import numpy as np
import pytest
import torch

from mmreid.evaluation.functional.average_precision import (
    AP_FORMULAS,
    average_precision,
)


def textbook(places, formula):
    """One query, one true match after the other."""
    total = 0.0
    for j, p in enumerate(places):
        after = (j + 1) / (p + 1)
        before = j / p if p else None
        if formula == 'standard':
            before = after
        elif formula == 'mar' and j == 0 or formula == 'trapezoid' and p == 0:
            before = 1.0
        total += (before + after) / 2
    return total / len(places) if places else 0.0


@pytest.mark.parametrize('formula', list(AP_FORMULAS))
def test_equals_textbook(formula):
    rng = np.random.default_rng(0)
    counts = [0, 1, 2, 5, 9, 9, 1]
    places = [sorted(rng.choice(30, n, replace=False)) for n in counts]
    places[-1] = [0]
    # What stands beyond the last match must not matter.
    position = torch.from_numpy(rng.integers(0, 99, (len(counts), 9)))
    for row, values in enumerate(places):
        position[row, : len(values)] = torch.tensor(values)
    result = average_precision(position, torch.tensor(counts), formula)
    assert result.dtype == torch.float64
    assert result.tolist() == pytest.approx(
        [textbook(values, formula) for values in places], rel=1e-12
    )

import cv2
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sides import sides

from mmreid.evaluation.functional.distance import FeatureDistance
from mmreid.evaluation.functional.verification import verify
from mmreid.visualization import verification
from mmreid.visualization.verification import draw_verification

torch.set_num_threads(1)


def verified(collapsed=False, **options):
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 5, n) for n in (12, 40)]
    centres = 0 * rng.normal(size=(5, 8)) if collapsed else np.eye(5, 8)
    query, gallery = (
        centres[i] + (not collapsed) * 0.3 * rng.normal(size=(len(i), 8))
        for i in ids
    )
    images = sides(query, gallery, *ids)
    distance = FeatureDistance(*images)
    return verify(distance, *images, camera_rule='none', **options)


@pytest.fixture
def figures(monkeypatch):
    """What is drawn, kept for a look at the curves."""
    seen = []

    class Kept(Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            seen.append(self)

    monkeypatch.setattr(verification, 'Figure', Kept)
    return seen


def test_draws_the_curve_and_the_histograms(tmp_path, figures):
    result = verified(fpr=(0.05, 0.01))
    out_file = tmp_path / 'new' / 'roc.png'
    draw_verification(result, out_file, title='A title')
    assert cv2.imread(str(out_file)).shape == (600, 1350, 3)

    curve, histogram = figures[0].axes
    x, y = curve.lines[0].get_data()
    for fpr, tpr in result.tpr.items():
        at = np.searchsorted(x, fpr, side='right') - 1
        assert y[at] == pytest.approx(100 * tpr)
    assert y[-1] == 100 and (np.diff(y) >= 0).all()
    points = [line.get_data() for line in curve.lines[2:]]
    assert np.array(points)[..., 0] == pytest.approx(
        np.array([[fpr, 100 * tpr] for fpr, tpr in result.tpr.items()])
    )

    outlines = [patch for patch in histogram.patches if not patch.get_fill()]
    assert len(outlines) == 2
    for outline in outlines:
        density, edges, _ = outline.get_data()
        assert len(density) <= 60
        assert (density * np.diff(edges)).sum() == pytest.approx(1)
    lines = sorted(line.get_xdata()[0] for line in histogram.lines)
    assert lines == sorted(result.threshold.values())


@pytest.mark.parametrize('options', [dict(num_bins=1), dict(collapsed=True)])
def test_draws_what_is_degenerate(tmp_path, recwarn, options):
    draw_verification(verified(**options), tmp_path / 'roc.png')
    assert (tmp_path / 'roc.png').stat().st_size
    # How an old Matplotlib calls pyparsing is not ours.
    assert not [
        w
        for w in recwarn
        if 'matplotlib' in str(w.filename)
        and not w.category.__module__.startswith('pyparsing')
    ]

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.integrate import trapezoid

from mmreid.visualization import Histogram, draw_histograms, histogram


@pytest.mark.parametrize('num', [1, 6])
def test_a_panel_for_each_with_its_normal_distribution(
    num, tmp_path, monkeypatch
):
    figures = []

    class Kept(Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            figures.append(self)

    monkeypatch.setattr(histogram, 'Figure', Kept)
    edges = np.linspace(-8, 8, 33)
    histograms = [
        Histogram(f'camera {i}', np.full(32, 1 / 16), edges, mean=i, std=0.5)
        for i in range(num)
    ]
    out = tmp_path / 'new' / 'a.png'
    draw_histograms(histograms, out, 'log entry', 'A title')
    assert cv2.imread(str(out)) is not None
    panels = [axes for axes in figures[0].axes if axes.get_visible()]
    assert [a.get_title() for a in panels] == [h.title for h in histograms]
    for mean, axes in enumerate(panels):
        x, y = axes.lines[0].get_data()
        assert x[y.argmax()] == pytest.approx(mean, abs=0.05)
        assert trapezoid(y, x) == pytest.approx(1, abs=0.01)

"""Resizing, beside slow loops over the formula of MATLAB's imresize."""

from math import ceil, floor

import numpy as np
import pytest

from mmreid.datasets.transforms import MatlabResize


def cubic(x):
    """Keys' kernel with a = -0.5."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    if x < 2:
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return 0.0


def resize_rows(img, num):
    """The first axis alone, of uint8 to uint8."""
    old = len(img)
    scale = num / old
    # Antialiasing: a wider and lower kernel where the axis shrinks.
    shrink = min(scale, 1)
    rows = []
    for i in range(num):
        centre = (i + 0.5) / scale - 0.5
        near = range(floor(centre - 2 / shrink), ceil(centre + 2 / shrink) + 1)
        weights = [shrink * cubic(shrink * (centre - j)) for j in near]
        row = 0
        for j, weight in zip(near, weights, strict=True):
            # Mirrored at the borders, the outermost pixels twice.
            j %= 2 * old
            row = row + weight * img[min(j, 2 * old - 1 - j)].astype(float)
        rows.append(row / sum(weights))
    return np.clip(np.floor(np.array(rows) + 0.5), 0, 255).astype(np.uint8)


def imresize(img, width, height):
    """Of the smaller factor comes first, as noise that is cut off shows."""

    def columns(img):
        return resize_rows(img.swapaxes(0, 1), width).swapaxes(0, 1)

    if height / img.shape[0] <= width / img.shape[1]:
        return columns(resize_rows(img, height))
    return resize_rows(columns(img), height)


@pytest.mark.parametrize(
    'old, new',
    [
        ((16, 8), (24, 12)),
        ((16, 8), (7, 5)),
        ((23, 9), (12, 20)),
        ((9, 23), (20, 6)),
        ((10, 6), (10, 6)),
        ((40, 30), (3, 2)),
        # Smaller than the kernel.
        ((2, 1), (5, 3)),
        ((3, 2), (1, 1)),
    ],
)
def test_equals_the_formula_to_a_grey_level(old, new):
    rng = np.random.default_rng(0)
    img = rng.integers(0, 256, (*old, 3), dtype=np.uint8)
    results = MatlabResize(scale=new[::-1])(dict(img=img.copy()))
    assert results['img_shape'] == new
    assert results['img'].dtype == np.uint8
    expected = imresize(img, *new[::-1])
    assert results['img'].shape == expected.shape
    difference = np.abs(results['img'].astype(int) - expected)
    # Ties are rounded one way or the other.
    assert difference.max() <= 1 and difference.mean() < 0.01
    if old == new:
        assert np.array_equal(results['img'], img)


def test_values_by_hand():
    """An edge rings and is cut off at 0 and 255, as bicubic does."""
    img = np.zeros((1, 4, 3), np.uint8)
    img[:, 2:] = 200
    row = MatlabResize((8, 1))(dict(img=img))['img'][0, :, 0]
    # Weights at a quarter: -0.0234375, 0.2265625, 0.8671875, -0.0703125.
    assert row.tolist() == [0, 0, 0, 41, 159, 214, 205, 200]


@pytest.mark.parametrize('scale', [8, (8,), (8, 0), (8, 16.0), '88', None])
def test_a_size_that_is_none(scale):
    with pytest.raises(ValueError, match=r'scale=\(width, height\), two pos'):
        MatlabResize(scale)

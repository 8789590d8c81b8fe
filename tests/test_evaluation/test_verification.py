import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sides import labelled, sides

from mmreid.evaluation.functional.distance import FeatureDistance
from mmreid.evaluation.functional.verification import verify

torch.set_num_threads(1)


class Table:
    """Distances that are simply given: float32 in, the same bits out."""

    def __init__(self, values):
        self.values = torch.tensor(values)
        self.shape = tuple(values.shape)
        self.device = self.values.device

    def block(self, rows):
        return self.values[rows].clone()

    def to_distances(self, scores, rows):
        return scores


def brute_force(matrix, qid, gid, qcam, gcam, rule, fpr):
    """From the whole matrix; every pair of pairs is compared."""
    same = qid[:, None] == gid
    camera = qcam[:, None] == gcam
    ignored = {
        'standard': same & camera,
        'none': np.zeros_like(same),
        'cross': camera,
    }[rule]
    positive = matrix[same & ~ignored]
    negative = matrix[~same & ~ignored]
    if not len(positive) or not len(negative):
        return None
    # The shares only change at a distance that occurs.
    candidates = np.unique(matrix)
    share = (negative <= candidates[:, None]).mean(1)
    accepted = (positive <= candidates[:, None]).mean(1)
    tpr = {rate: accepted[share <= rate].max(initial=0) for rate in fpr}
    nearer = positive[:, None] < negative
    tied = positive[:, None] == negative
    auc = (nearer + 0.5 * tied).mean()
    return positive, negative, tpr, auc


@st.composite
def tables(draw):
    """Distances with many ties, or with none."""
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 2, 7, None]))
    if levels:
        matrix = rng.choice([-0.0, 0.0, 0.1, 0.3, 0.7, 2, 1e9][:levels], shape)
    else:
        matrix = rng.normal(size=shape)
    persons, cameras = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    ids = [
        rng.integers(0, most, num)
        for most in (persons, cameras)
        for num in shape
    ]
    return matrix, *ids


rules = st.sampled_from(['standard', 'none', 'cross'])
rates = st.lists(
    st.floats(1e-4, 0.1) | st.sampled_from([0.01, 0.1]),
    min_size=1,
    max_size=3,
)


@settings(max_examples=200, deadline=None)
@given(
    tables(),
    rules,
    rates,
    st.integers(1, 10),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from([1, 10, 200]),
)
def test_equals_brute_force(data, rule, fpr, chunk_size, dtype, num_bins):
    matrix, *ids = data
    matrix = matrix.astype(dtype)
    options = dict(
        camera_rule=rule, fpr=fpr, num_bins=num_bins, chunk_size=chunk_size
    )
    expected = brute_force(matrix, *ids, rule, fpr)
    if expected is None:
        with pytest.raises(ValueError, match='No query has a gallery image'):
            verify(Table(matrix), *labelled(*ids), **options)
        return
    positive, negative, tpr, auc = expected
    result = verify(Table(matrix), *labelled(*ids), **options)
    assert (result.num_positive, result.num_negative) == (
        len(positive),
        len(negative),
    )
    assert result.tpr == pytest.approx(tpr, abs=1e-12)
    assert result.auc == pytest.approx(auc, abs=1e-12)
    np.testing.assert_array_equal(
        result.false_positives,
        (negative <= np.sort(positive)[:, None]).sum(1),
    )
    for rate, threshold in result.threshold.items():
        assert (negative <= threshold).mean() <= rate
        larger = np.nextafter(dtype(threshold), dtype(np.inf))
        assert (negative <= larger).mean() > rate
        assert (positive <= threshold).mean() == pytest.approx(tpr[rate])

    edges = result.bin_edges.numpy()
    assert edges.shape == (num_bins + 1,) and edges.dtype == dtype
    assert edges[0] <= matrix.min() and matrix.max() <= edges[-1]
    np.testing.assert_allclose(
        np.diff(edges), (edges[-1] - edges[0]) / num_bins, rtol=1e-3
    )
    for counts, values in (
        (result.positive_counts, positive),
        (result.negative_counts, negative),
    ):
        assert counts.dtype == torch.int64
        np.testing.assert_array_equal(counts, np.histogram(values, edges)[0])


@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.float64])
def test_features(metric, dtype):
    """Entries of +-1 in 16 columns are exact in every precision."""
    rng = np.random.default_rng(0)
    query, gallery = (rng.choice([-1.0, 1.0], (n, 16)) for n in (20, 50))
    ids = [rng.integers(0, n, m) for n in (5, 3) for m in (20, 50)]
    matrix = 1 - query @ gallery.T / 16
    if metric == 'euclidean':
        # |q - g|^2 = 2 * 16 * (1 - cosine)
        matrix = np.sqrt(32 * matrix)
    fpr = (0.01, 0.05)
    positive, negative, tpr, auc = brute_force(matrix, *ids, 'standard', fpr)
    images = sides(
        torch.tensor(query, dtype=dtype, requires_grad=True),
        torch.tensor(gallery, dtype=dtype),
        *ids,
    )
    distance = FeatureDistance(*images, metric)
    for chunk_size in (None, 1, 7):
        result = verify(distance, *images, fpr=fpr, chunk_size=chunk_size)
        assert result.tpr == pytest.approx(tpr)
        assert result.auc == pytest.approx(auc)
        assert int(result.positive_counts.sum()) == len(positive)
        assert int(result.negative_counts.sum()) == len(negative)


def test_a_collapsed_model_accepts_nobody():
    images = labelled([0, 1], [0, 1, 1])
    result = verify(Table(np.zeros((2, 3))), *images, camera_rule='none')
    assert result.summary() == {
        'TPR@FPR=0.0001': 0.0,
        'TPR@FPR=0.001': 0.0,
        'TPR@FPR=0.01': 0.0,
        'AUC': 50.0,
    }
    assert max(result.threshold.values()) < 0


def test_a_rate_that_a_count_just_reaches_is_reached():
    # In floating point, 1 / 49 * 49 is less than 1.
    gallery_ids = np.ones(50, int)
    gallery_ids[1] = 0
    rate, less = 1 / 49, 0.02
    result = verify(
        Table(np.arange(50.0)[None]),
        *labelled([0], gallery_ids),
        camera_rule='none',
        fpr=[rate, less],
    )
    assert result.tpr == {rate: 1.0, less: 0.0}


def test_no_block_is_larger_than_asked(monkeypatch):
    rng = np.random.default_rng(0)
    table = Table(rng.random((50, 20)))
    seen = []
    block = table.block
    monkeypatch.setattr(
        table, 'block', lambda rows: seen.append(rows) or block(rows)
    )
    images = labelled(*(rng.integers(0, 3, n) for n in (50, 20)))
    verify(table, *images, camera_rule='none', chunk_size=8)
    assert {rows.stop - rows.start for rows in seen} == {8, 2}


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(fpr=()), 'fpr must be false positive rates above 0'),
        (dict(fpr=(0.5,)), r'up to 0\.1, got \(0\.5,\)'),
        (dict(fpr=(0.0,)), 'fpr must be'),
        (dict(num_bins=0), 'num_bins must be >= 1, got 0'),
        (dict(chunk_size=0), 'chunk_size must be >= 1'),
        (dict(camera_rule='all'), 'camera_rule must be one of'),
        (dict(camera_rule='standard'), 'needs query_cams'),
    ],
)
def test_bad_options(options, message):
    table = Table(np.ones((1, 2)))
    with pytest.raises(ValueError, match=message):
        verify(
            table,
            *labelled([0], [0, 1]),
            **dict(camera_rule='none') | options,
        )


@pytest.mark.parametrize(
    'gallery_ids, message',
    [
        ([1, 1], 'image of its person'),
        ([0, 0], 'image of another person'),
    ],
)
def test_one_kind_of_pair_is_not_enough(gallery_ids, message):
    with pytest.raises(ValueError, match=message):
        verify(
            Table(np.ones((1, 2))),
            *labelled([0], gallery_ids),
            camera_rule='none',
        )

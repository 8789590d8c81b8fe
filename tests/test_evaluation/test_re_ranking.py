import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sides import sides
from torch.utils._python_dispatch import TorchDispatchMode

from mmreid.evaluation.functional import k_reciprocal, ranking
from mmreid.evaluation.functional.re_ranking import (
    KReciprocalDistance,
    expand_queries,
)

torch.set_num_threads(1)


def squared_distances(features, metric):
    """In float64, all pairs; of cosine, half of it, which is the same."""
    features = np.float64(features)
    if metric == 'cosine':
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        features = features / np.where(norms > 0, norms, 1)
        return 1 - features @ features.T
    return ((features[:, None] - features) ** 2).sum(-1)


def textbook(query, gallery, k1, k2, lambda_value, metric):
    """The equations, one set at a time, on dense matrices."""
    squared = squared_distances(np.concatenate([query, gallery]), metric)
    num = len(squared)
    largest = squared.max(axis=1, keepdims=True)
    distance = squared / np.where(largest > 0, largest, 1)
    order = [
        [i] + sorted(set(range(num)) - {i}, key=lambda j: (squared[i, j], j))
        for i in range(num)
    ]

    def reciprocal(i, k):
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    half = int(np.around(k1 / 2))
    weights = np.zeros((num, num))
    for i in range(num):
        base = reciprocal(i, k1)
        members = set(base)
        for j in base:
            other = reciprocal(j, half)
            if 3 * len(base & other) > 2 * len(other):
                members |= other
        for j in members:
            weights[i, j] = math.exp(-distance[i, j])
        weights[i] /= weights[i].sum()
    mean = np.stack([weights[order[i][:k2]].mean(axis=0) for i in range(num)])
    result = np.empty((len(query), len(gallery)))
    for i in range(len(query)):
        for j in range(len(gallery)):
            other = mean[len(query) + j]
            intersection = np.minimum(mean[i], other).sum()
            union = np.maximum(mean[i], other).sum()
            result[i, j] = 1 - intersection / union
    original = distance[: len(query), len(query) :]
    return (1 - lambda_value) * result + lambda_value * original


@st.composite
def problems(draw):
    """Features whose ties, if any, are exact in float32: whole numbers, and
    for cosine +-1 in 4 or 16 columns, of norm 2 or 4."""
    num_query = draw(st.integers(1, 12))
    num_gallery = draw(st.integers(max(1, 3 - num_query), 48))
    num = num_query + num_gallery
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    metric = draw(st.sampled_from(['cosine', 'euclidean']))
    dtype = np.float64
    if draw(st.booleans()):
        features = rng.normal(size=(num, draw(st.integers(2, 16))))
    elif metric == 'cosine':
        dtype = np.float32
        columns = draw(st.sampled_from([4, 16]))
        features = rng.choice([-1, 1], (num, columns))
    else:
        dtype = np.float32
        top = draw(st.integers(1, 9))
        features = rng.integers(0, top, (num, draw(st.integers(2, 16))))
    features = features.astype(dtype)
    k1 = draw(st.integers(1, min(num - 1, 25)))
    options = dict(
        k1=k1,
        k2=draw(st.integers(1, k1)),
        lambda_value=draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])),
        metric=metric,
    )
    return features[:num_query], features[num_query:], options


def whole(distance):
    return distance.block(slice(0, distance.shape[0])).numpy()


@settings(max_examples=150, deadline=None)
@given(problems())
def test_equals_textbook(problem):
    query, gallery, options = problem
    result = whole(KReciprocalDistance(*sides(query, gallery), **options))
    expected = textbook(query, gallery, **options)
    assert result.dtype == query.dtype
    atol = 1e-10 if query.dtype == np.float64 else 2e-6
    np.testing.assert_allclose(result, expected, rtol=0, atol=atol)


@settings(max_examples=40, deadline=None)
@given(problems(), st.integers(1, 7), st.integers(1, 7), st.integers(1, 50))
def test_chunks_do_not_matter(problem, chunk_size, block, listed):
    query, gallery, options = problem
    expected = whole(KReciprocalDistance(*sides(query, gallery), **options))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(k_reciprocal, '_MAX_LISTED', listed)
        distance = KReciprocalDistance(
            *sides(query, gallery), chunk_size=chunk_size, **options
        )
        result = torch.cat(
            [
                distance.block(slice(start, min(start + block, len(query))))
                for start in range(0, len(query), block)
            ]
        )
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


def people(num_people, per_person, dim=16, noise=1.0):
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(num_people), per_person)
    features = rng.normal(size=(num_people, dim))[ids]
    return features + noise * rng.normal(size=features.shape), ids


def test_ranks_and_helps():
    features, ids = people(60, 8)
    query, gallery = features[::8], np.delete(features, np.s_[::8], axis=0)
    ids = ids[::8].copy(), np.delete(ids, np.s_[::8])
    images = sides(query, gallery, *ids)

    def mean_ap(**kwargs):
        distance = KReciprocalDistance(*images, 7, 3, **kwargs)
        result = ranking.rank(
            distance,
            *images,
            camera_rule='none',
            num_neighbours=3,
            chunk_size=7,
        )
        rows = torch.arange(len(query))[:, None]
        dense = torch.from_numpy(whole(distance))
        # Up to what a product of another block's size rounds otherwise,
        # to_distances leaves them as they are.
        torch.testing.assert_close(
            result.distances, dense[rows, result.neighbours]
        )
        return result.summary()['mAP']

    plain = ranking.rank_metrics(query, gallery, *ids, camera_rule='none')
    assert mean_ap(lambda_value=1.0) == pytest.approx(plain['mAP'])
    assert mean_ap() > plain['mAP'] + 5


@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
def test_lambda_one_is_the_plain_ranking(metric):
    features, _ = people(10, 5)
    features[7] = 0
    images = sides(features[:5], features[5:])
    result = whole(KReciprocalDistance(*images, 3, 2, 1.0, metric))
    plain = ranking.FeatureDistance(*images, metric)
    plain = plain.block(slice(0, 5)).numpy()
    np.testing.assert_array_equal(
        result.argsort(kind='stable'), plain.argsort(kind='stable')
    )


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_one_image_everywhere(value):
    features = np.full((9, 4), value, np.float32)
    images = sides(features[:3], features[3:])
    result = whole(KReciprocalDistance(*images, 4, 2, 0.0))
    assert np.isfinite(result).all()
    assert (result > -1e-6).all() and (result < 1 + 1e-6).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 30), st.integers(1, 4), st.data()
)  # fmt: skip
def test_nearest_takes_the_first_of_equals(rows, columns, top, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    scores = rng.integers(0, top, (rows, columns)).astype(np.float32)
    k = data.draw(st.integers(1, columns))
    result = k_reciprocal.nearest(torch.from_numpy(scores), k)
    expected = scores.argsort(axis=1, kind='stable')[:, :k]
    np.testing.assert_array_equal(result, expected)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that an operation gives."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple) else [result]:
            if isinstance(value, torch.Tensor):
                held = value
                if value.layout == torch.sparse_csr:
                    held = value.values()  # the rest are zeros
                self.elements = max(self.elements, held.numel())
        return result


def small_blocks(num_people):
    features, ids = people(num_people, 10, dim=8)
    features, num_query = np.float32(features), 3 * num_people
    images = sides(
        features[:num_query],
        features[num_query:],
        ids[:num_query],
        ids[num_query:],
    )
    distance = KReciprocalDistance(*images, 5, 2, chunk_size=16)
    ranking.rank(distance, *images, camera_rule='none', chunk_size=16)
    expand_queries(*images, chunk_size=16)
    return images


def test_no_tensor_of_all_pairs(monkeypatch):
    monkeypatch.setattr(k_reciprocal, '_MAX_LISTED', 2**12)
    with Largest() as largest:
        query, gallery = small_blocks(60)
    assert largest.elements == 16 * (len(query) + len(gallery))


def test_no_array_of_all_pairs(monkeypatch):
    """PyTorch's memory is not in it, NumPy's and SciPy's is."""
    monkeypatch.setattr(k_reciprocal, '_MAX_LISTED', 2**12)
    tracemalloc.start()
    try:
        query, gallery = small_blocks(250)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # One byte for each pair of a query and a gallery image would not fit.
    assert peak < len(query) * len(gallery)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(k1=8), r'k1 must be less than .* which is 8, got 8'),
        (dict(k1=3, k2=4), r'1 <= k2 <= k1, got k1=3 and k2=4'),
        (dict(k1=3, k2=0), r'1 <= k2 <= k1'),
        (dict(k1=2.5, k2=1), r'whole numbers'),
        (dict(k1=3, k2=2, lambda_value=1.1), r'lambda_value must be in 0..1'),
        (dict(k1=3, k2=2, lambda_value=math.nan), r'lambda_value'),
        (dict(k1=3, k2=2, metric='dot'), r'metric must be one of'),
        (dict(k1=3, k2=2, chunk_size=0), r'chunk_size must be >= 1'),
    ],
)
def test_bad_options(options, message):
    features = torch.eye(8)
    with pytest.raises(ValueError, match=message):
        KReciprocalDistance(*sides(features[:3], features[3:]), **options)


def test_bad_features():
    query, gallery = torch.eye(8)[:3], torch.eye(8)[3:]
    gallery[2] = torch.nan
    with pytest.raises(ValueError, match='gallery_features row 2 holds NaN'):
        KReciprocalDistance(*sides(query, gallery), 3, 2)


def mean_of_nearest(query, gallery, k, metric):
    if metric == 'cosine':
        query = query / np.linalg.norm(query, axis=1, keepdims=True)
        gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    rows = []
    for image in query:
        squared = ((image - gallery) ** 2).sum(axis=1)
        nearest = gallery[squared.argsort(kind='stable')[:k]]
        rows.append((image + nearest.sum(axis=0)) / (k + 1))
    return np.stack(rows)


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 9), st.integers(1, 5))
def test_expansion(problem, k, chunk_size):
    query, gallery, options = problem
    metric = options['metric']
    k = min(k, len(gallery))
    images = sides(query, gallery, np.arange(len(query)))
    expanded = expand_queries(*images, k, metric, chunk_size)
    assert expanded.person_id is images[0].person_id
    result = expanded.features
    assert result.shape == query.shape
    if k == 0:
        np.testing.assert_array_equal(result, query)
        return
    expected = mean_of_nearest(query, gallery, k, metric)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('k', [-1, 1.5, 6])
def test_expansion_refuses_k(k):
    features = torch.eye(8)
    with pytest.raises(ValueError, match='gallery images, 5, got'):
        expand_queries(*sides(features[:3], features[3:]), k)

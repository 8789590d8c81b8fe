import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreid.evaluation import camera_aware_jaccard_graph, jaccard_graph
from mmreid.evaluation.functional import k_reciprocal
from mmreid.structures import FeatureSet

torch.set_num_threads(1)


def squared_distances(features):
    features = np.float64(features)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    features = features / np.where(norms > 0, norms, 1)
    return 2 - 2 * features @ features.T


def nearest(squared, i, allowed):
    """The allowed images, nearest first, i itself before all."""
    return sorted(allowed, key=lambda j: (j != i, squared[i, j], j))


def weights_of(squared, sets):
    weights = np.zeros_like(squared)
    for i, members in enumerate(sets):
        for j in members:
            weights[i, j] = math.exp(-max(squared[i, j], 0))
        weights[i] /= weights[i].sum()
    return weights


def distances_of(weights, means):
    """All Jaccard distances, V averaged over the images of each mean."""
    mean = np.stack([weights[members].mean(axis=0) for members in means])
    num = len(mean)
    return np.array(
        [
            [
                1
                - np.minimum(mean[i], mean[j]).sum()
                / np.maximum(mean[i], mean[j]).sum()
                for j in range(num)
            ]
            for i in range(num)
        ]
    )


def textbook(features, k1, k2):
    """The equations, one set at a time, on dense matrices."""
    squared = squared_distances(features)
    every = range(len(squared))
    order = [nearest(squared, i, every) for i in every]

    def reciprocal(i, k):
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    sets = []
    for i in every:
        base = reciprocal(i, k1)
        members = set(base)
        for j in base:
            other = reciprocal(j, round(k1 / 2))
            if 3 * len(base & other) > 2 * len(other):
                members |= other
        sets.append(members)
    return distances_of(
        weights_of(squared, sets), [order[i][:k2] for i in every]
    )


def camera_aware_textbook(
    features, camera_id, k1_intra, k1_inter, k2_intra, k2_inter
):
    squared = squared_distances(features)
    every = range(len(squared))
    intra, inter = [], []
    for i in every:
        own = [j for j in every if camera_id[j] == camera_id[i]]
        others = [j for j in every if camera_id[j] != camera_id[i]]
        intra.append(nearest(squared, i, own))
        inter.append(nearest(squared, i, others))
    sets = [
        {
            j
            for lists, k in ((intra, 1 + k1_intra), (inter, k1_inter))
            for j in lists[i][:k]
            if i in lists[j][:k]
        }
        for i in every
    ]
    means = [intra[i][:k2_intra] + inter[i][:k2_inter] for i in every]
    return distances_of(weights_of(squared, sets), means)


def assert_is_graph(graph, expected, radius):
    """The expected distances of the radius or less, nearest first."""
    assert graph.shape == expected.shape
    for i, row in enumerate(expected):
        span = slice(graph.indptr[i], graph.indptr[i + 1])
        found, distance = graph.indices[span], graph.data[span]
        assert len(set(found)) == len(found)
        assert (np.diff(distance) >= 0).all()
        np.testing.assert_allclose(distance, row[found], rtol=0, atol=2e-6)
        missing = np.setdiff1d(np.arange(len(row)), found)
        assert (row[missing] > radius - 2e-6).all()
        assert (distance <= radius).all()
        assert distance[found == i] == [0]


@st.composite
def problems(draw):
    """Features whose ties, if any, are exact in float32."""
    num = draw(st.integers(3, 50))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        features = rng.normal(size=(num, draw(st.integers(2, 12))))
    else:
        features = rng.choice([-1, 1], (num, draw(st.sampled_from([4, 16]))))
    return np.float32(features), rng.integers(0, draw(st.integers(1, 5)), num)


@settings(max_examples=100, deadline=None)
@given(problems(), st.data())
def test_equals_textbook(problem, data):
    features, _ = problem
    k1 = data.draw(st.integers(1, min(len(features) - 1, 25)))
    k2 = data.draw(st.integers(1, k1))
    radius = data.draw(st.sampled_from([0.3, 0.6, 0.99]))
    chunk_size = data.draw(st.sampled_from([None, 1, 7]))
    graph = jaccard_graph(
        FeatureSet(torch.from_numpy(features)), radius, k1, k2, chunk_size
    )
    assert_is_graph(graph, textbook(features, k1, k2), radius)


@settings(max_examples=100, deadline=None)
@given(problems(), st.data())
def test_camera_aware_equals_textbook(problem, data):
    features, camera_id = problem
    options = dict(
        k1_intra=data.draw(st.integers(1, 12)),
        k1_inter=data.draw(st.integers(1, 30)),
        k2_intra=data.draw(st.integers(1, 4)),
        k2_inter=data.draw(st.integers(0, 4)),
    )
    radius = data.draw(st.sampled_from([0.3, 0.6, 0.99]))
    chunk_size = data.draw(st.sampled_from([None, 1, 7]))
    graph = camera_aware_jaccard_graph(
        FeatureSet(
            torch.from_numpy(features), camera_id=torch.from_numpy(camera_id)
        ),
        radius,
        chunk_size=chunk_size,
        **options,
    )
    expected = camera_aware_textbook(features, camera_id, **options)
    assert_is_graph(graph, expected, radius)


def people(num_people=40, per_person=8, dim=16, noise=0.5):
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(num_people), per_person)
    features = rng.normal(size=(num_people, dim))[ids]
    features += noise * rng.normal(size=features.shape)
    return torch.from_numpy(features).float(), torch.from_numpy(ids)


def test_small_parts_do_not_matter(monkeypatch):
    images = FeatureSet(people()[0])
    whole = jaccard_graph(images, 0.5)
    monkeypatch.setattr(k_reciprocal, '_MAX_LISTED', 100)
    parts = jaccard_graph(images, 0.5)
    np.testing.assert_allclose(parts.toarray(), whole.toarray(), atol=1e-6)


def test_persons_are_near_themselves():
    features, ids = people()
    graph = jaccard_graph(FeatureSet(features), 0.5, k1=10, k2=3)
    rows = np.repeat(np.arange(len(ids)), np.diff(graph.indptr))
    same = (ids[rows] == ids[graph.indices]).numpy()
    # Of 320 images 8 show the person.
    assert same.mean() > 0.9
    assert len(rows) > 3 * len(ids)


def test_a_camera_no_longer_crowds_out_others():
    """What all images of a camera share hides who is on them."""
    features, ids = people(noise=0.3)
    camera_id = torch.arange(len(ids)) % 2
    shift = torch.zeros_like(features)
    shift[:, 0] = 4 * (camera_id * 2 - 1)
    images = FeatureSet(features + shift, camera_id=camera_id)

    def across(graph):
        """Part of the pairs of one person and two cameras that is found."""
        found = graph.toarray() > 0
        pairs = (ids[:, None] == ids) & (camera_id[:, None] != camera_id)
        return found[pairs.numpy()].mean()

    plain = jaccard_graph(images, 0.6, k1=10, k2=4)
    aware = camera_aware_jaccard_graph(images, 0.6, 3, 4, 2, 2)
    assert across(plain) < 0.2
    assert across(aware) > 0.6


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(k1=320), 'k1 less than the 320 images, got k1=320'),
        (dict(k1=3, k2=4), 'k2 <= k1'),
        (dict(k1=2.5), 'whole numbers'),
        (dict(radius=0), r'in \(0, 1\), got 0'),
        (dict(radius=1), r'in \(0, 1\), got 1'),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        jaccard_graph(FeatureSet(people()[0]), **{'radius': 0.5, **options})


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(k1_intra=0), 'k1_intra must be a whole number of 1 or more'),
        (dict(k2_inter=-1), 'k2_inter must be a whole number of 0 or more'),
    ],
)
def test_camera_aware_options_out_of_range(options, message):
    features, ids = people()
    images = FeatureSet(features, camera_id=ids)
    with pytest.raises(ValueError, match=message):
        camera_aware_jaccard_graph(images, 0.5, **options)


@pytest.mark.parametrize(
    'camera_id', [None, torch.tensor([0, 1, -1, 0])], ids=['none', 'one']
)
def test_camera_aware_without_cameras(camera_id):
    images = FeatureSet(torch.eye(4), camera_id=camera_id)
    with pytest.raises(ValueError, match='cameras of these 4 images are unkn'):
        camera_aware_jaccard_graph(images, 0.5, 1, 1, 1, 1)


def test_features_that_are_not_finite():
    features = torch.eye(4)
    features[2, 1] = torch.nan
    with pytest.raises(ValueError, match='features row 2 holds NaN'):
        jaccard_graph(FeatureSet(features), 0.5, 1, 1)

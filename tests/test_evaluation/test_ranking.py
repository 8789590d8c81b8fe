from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sides import labelled, sides

from mmreid.evaluation import rank, rank_metrics, rank_queries
from mmreid.evaluation.functional import FeatureDistance, ranking

torch.set_num_threads(1)


def distances(query, gallery, metric):
    """Equal ones are equal to the last bit: no product of matrices."""
    query, gallery = np.float64(query), np.float64(gallery)
    if metric == 'cosine':
        query = query / np.linalg.norm(query, axis=1, keepdims=True)
        gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
        return 1 - (query[:, None] * gallery).sum(-1)
    return np.sqrt(((query[:, None] - gallery) ** 2).sum(-1))


def kept(person, camera, gid, gcam, rule):
    return {
        'standard': (gid != person) | (gcam != camera),
        'none': np.ones(len(gid), bool),
        'cross': gcam != camera,
    }[rule]


def brute_force(
    query, gallery, qid, gid, qcam, gcam, metric, ap, topk, rule='standard',
    ties='pessimistic',
):  # fmt: skip
    """Sorts every row of the full float64 matrix, others before matches."""
    distance = distances(query, gallery, metric)
    first, aps, inps = [], [], []
    for row, person, camera in zip(distance, qid, qcam, strict=True):
        keep = kept(person, camera, gid, gcam, rule)
        same = gid[keep] == person
        last = same if ties == 'pessimistic' else ~same
        places = np.flatnonzero(same[np.lexsort((last, row[keep]))])
        if not len(places):
            continue
        terms = []
        for j, p in enumerate(places):
            at = (j + 1) / (p + 1)
            start = {'trapezoid': p == 0, 'mar': j == 0}.get(ap)
            old = at if ap == 'standard' else 1 if start else j / p
            terms.append((old + at) / 2)
        first.append(places[0])
        aps.append(np.mean(terms))
        inps.append(len(places) / (places[-1] + 1))
    if not first:
        return None
    result = {f'rank-{k}': 100 * np.mean(np.array(first) < k) for k in topk}
    result['mAP'] = 100 * np.mean(aps)
    result['mINP'] = 100 * np.mean(inps)
    result['skipped_queries'] = len(qid) - len(first)
    return result


@st.composite
def retrievals(draw):
    """Small sets. With entries of +-1 and four columns, norms and products
    are exact in float32: ties are true ties and occur all the time."""
    num_query, num_gallery = draw(st.integers(1, 9)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        make = lambda n: rng.choice([-1.0, 1.0], (n, 4))  # noqa: E731
    else:
        make = lambda n: rng.normal(size=(n, 8))  # noqa: E731
    gallery = make(num_gallery)
    if draw(st.booleans()):
        gallery = gallery[rng.integers(0, num_gallery, num_gallery)]
    persons, cameras = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    return (
        make(num_query),
        gallery,
        rng.integers(0, persons, num_query),
        rng.integers(0, persons, num_gallery),
        rng.integers(0, cameras, num_query),
        rng.integers(0, cameras, num_gallery),
    )


@settings(max_examples=300, deadline=None)
@given(
    retrievals(),
    st.sampled_from(['cosine', 'euclidean']),
    st.sampled_from(['standard', 'trapezoid', 'mar']),
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from(['standard', 'none', 'cross']),
    st.sampled_from(['pessimistic', 'optimistic']),
)
def test_equals_brute_force(data, metric, ap, dtype, rule, ties):
    topk = (1, 2, 5, 50)
    query, gallery = (part.astype(dtype) for part in data[:2])
    # Nearly equal distances may change places in float32.
    gaps = np.diff(np.sort(distances(query, gallery, metric)))
    assume(not ((gaps > 0) & (gaps < 1e-5)).any())
    args = (query, gallery, *data[2:], metric, ap, topk)
    expected = brute_force(*args, rule, ties)
    options = dict(camera_rule=rule, ties=ties)
    if expected is None:
        with pytest.raises(ValueError, match='None of the .* queries'):
            rank_metrics(*args, **options)
    else:
        result = rank_metrics(*args, **options)
        assert list(result) == list(expected)
        assert all(type(value) is float for value in result.values())
        assert result == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
@pytest.mark.parametrize(
    'dtype', [torch.float16, torch.float32, torch.float64]
)
def test_copies_tie_however_products_round(metric, dtype, monkeypatch):
    # As products do which sum the last columns in another order.
    def with_rounding(product):
        def rounded(*args, **kwargs):
            scores = product(*args, **kwargs)
            return scores + torch.arange(scores.shape[1]) * 1e-6

        return rounded

    monkeypatch.setattr(torch, 'mm', with_rounding(torch.mm))
    monkeypatch.setattr(torch, 'addmm', with_rounding(torch.addmm))
    some = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    gallery = some[[0, 1, 0, 1, 2, 0]].to(dtype)
    distance = FeatureDistance(*sides(some[:2].to(dtype), gallery), metric)
    scores = distance.block(slice(0, 2))
    assert torch.equal(scores[:, [2, 3, 5]], scores[:, [0, 1, 0]])
    assert len(set(scores[0].tolist())) == 3
    # The first image is the true match: two copies of it rank ahead.
    images = labelled([0, 1], [0, 1, 2, 2, 2, 2])
    result = rank(distance, *images, camera_rule='none')
    assert result.first_rank.tolist() == [3, 2]


@settings(max_examples=60, deadline=None)
@given(retrievals(), st.integers(1, 10), st.integers(1, 4))
def test_chunks_and_shards_do_not_matter(data, chunk_size, world_size):
    whole = rank_queries(*sides(*data), num_neighbours=3)
    parts = [
        rank_queries(
            *sides(*data),
            num_neighbours=3,
            chunk_size=chunk_size,
            shard=(rank, world_size),
        )
        for rank in range(world_size)
    ]
    for name, column in vars(whole).items():
        pieces = torch.stack([getattr(part, name) for part in parts])
        # Which of equal neighbours comes first is not defined.
        if name not in ('neighbours', 'correct'):
            torch.testing.assert_close(pieces.double().sum(0), column.double())


@settings(max_examples=100, deadline=None)
@given(retrievals(), st.sampled_from(['pessimistic', 'optimistic']))
def test_other_devices_count_alike(data, ties):
    """The way for accelerators, run on the CPU, against that of the CPU."""
    expected = rank_queries(*sides(*data), ties=ties)
    with pytest.MonkeyPatch.context() as context:
        context.setattr(ranking, '_count_ahead', ranking._count_ahead_torch)
        found = rank_queries(*sides(*data), ties=ties)
    for name, column in vars(expected).items():
        assert torch.equal(getattr(found, name), column), name


def line(matches, length):
    """One query whose true matches lie at the given 0-based places."""
    angle = np.linspace(0.1, 1.5, length)
    gallery = np.stack([np.cos(angle), np.sin(angle)], 1)
    ids = np.where(np.isin(np.arange(length), matches), 5, 6)
    return np.array([[1.0, 0.0]]), gallery, [5], ids, [0], [1] * length


def test_three_formulas_by_hand():
    # Two matches at the second and fourth place: precision 1/2 and 2/4.
    # Trapezoid: (0/1 + 1/2)/2 and (1/3 + 2/4)/2. MAR: (1 + 1/2)/2 at first.
    data = line([1, 3], 6)
    by_hand = dict(
        standard=(1 / 2 + 2 / 4) / 2,
        trapezoid=((0 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2,
        mar=((1 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2,
    )
    for ap, expected in by_hand.items():
        result = rank_metrics(*data, ap=ap, topk=[1, 2])
        assert result['mAP'] == pytest.approx(100 * expected)
        assert result['mINP'] == 50.0
        assert (result['rank-1'], result['rank-2']) == (0.0, 100.0)


def test_formulas_agree_on_a_perfect_ranking():
    data = line([0, 1, 2], 6)
    for ap in ('standard', 'trapezoid', 'mar'):
        assert rank_metrics(*data, ap=ap)['mAP'] == pytest.approx(100)


def test_per_query_results():
    query = torch.eye(3)
    gallery = torch.tensor([[1.0, 0.1, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    # The second query's only match is junk, the third's person is absent.
    ranks = rank_queries(*sides(query, gallery, [1, 2, 9], [1, 3, 2],
                                [0, 4, 0], [1, 1, 4]))  # fmt: skip
    assert ranks.valid.tolist() == [True, False, False]
    assert ranks.first_rank.tolist() == [2, 0, 0]
    assert ranks.ap.tolist() == [0.5, 0.0, 0.0]
    assert ranks.inp.tolist() == [0.5, 0.0, 0.0]
    assert ranks.summary([1])['skipped_queries'] == 2.0


@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
@pytest.mark.parametrize('num_query', [1, 2, 5])
def test_collapsed_model_scores_worst(metric, num_query):
    # An odd width and irrational values: equal columns must give equal
    # scores wherever they lie in the matrix.
    row = torch.randn(1, 2047, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(33)
    result = rank_metrics(
        row.repeat(num_query, 1),
        row.repeat(33, 1),
        ids[:num_query],
        ids,
        torch.zeros(num_query, dtype=torch.int64),
        torch.ones(33, dtype=torch.int64),
        metric=metric,
        topk=[32, 33],
    )
    assert result['rank-32'] == 0.0
    assert result['rank-33'] == 100.0
    assert result['mAP'] == pytest.approx(100 / 33)


def test_autocast_and_half_precision_features():
    generator = torch.Generator().manual_seed(0)
    # All features are alike, so that bf16 products would be one big tie.
    query = (torch.randn(20, 64, generator=generator) + 5).half()
    gallery = (torch.randn(90, 64, generator=generator) + 5).half()
    ids = torch.randint(0, 9, (110,), generator=generator)
    cams = torch.randint(0, 3, (110,), generator=generator)
    args = (ids[:20], ids[20:], cams[:20], cams[20:])
    expected = rank_metrics(query.float(), gallery.float(), *args)
    with torch.autocast('cpu', torch.bfloat16):
        assert rank_metrics(query, gallery, *args) == expected


@settings(max_examples=60, deadline=None)
@given(
    retrievals(),
    st.integers(1, 35),
    st.integers(1, 10),
    st.sampled_from(['cosine', 'euclidean']),
    st.sampled_from(['standard', 'none', 'cross']),
)
def test_neighbours(data, k, chunk_size, metric, rule):
    query, gallery, qid, gid, qcam, gcam = data
    found = rank_queries(
        *sides(*data),
        num_neighbours=k,
        metric=metric,
        chunk_size=chunk_size,
        camera_rule=rule,
    )
    assert found.neighbours.shape == (len(query), k)
    for i, row in enumerate(distances(query, gallery, metric)):
        keep = np.flatnonzero(kept(qid[i], qcam[i], gid, gcam, rule))
        count = min(k, len(keep))
        chosen = found.neighbours[i, :count].numpy()
        assert (found.neighbours[i, count:] == -1).all()
        assert found.distances[i, count:].isinf().all()
        assert not found.correct[i, count:].any()
        assert set(chosen) <= set(keep) and len(set(chosen)) == count
        # Compared by distance: the order of ties is free.
        np.testing.assert_allclose(
            row[chosen], np.sort(row[keep])[:count], atol=1e-7
        )
        np.testing.assert_allclose(
            found.distances[i, :count], row[chosen], atol=1e-6
        )
        assert (
            found.correct[i, :count].numpy() == (gid[chosen] == qid[i])
        ).all()


GOOD = dict(
    query_features=torch.ones(2, 3),
    gallery_features=torch.ones(4, 3),
    query_ids=[1, 2],
    gallery_ids=[1, 2, 3, 4],
    query_cams=[0, 0],
    gallery_cams=[1, 1, 1, 1],
)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (
            dict(gallery_features=torch.ones(4, 3).index_fill(
                0, torch.tensor([2]), torch.nan)),
            ValueError,
            r'gallery_features row 2 .* \(1 of 4',
        ),
        (
            dict(query_features=torch.full((2, 3), 1e30)),
            ValueError,
            'query_features row 0 .* overflows',
        ),
        (
            dict(query_features=torch.ones(2, 3).long()),
            TypeError,
            'query_features must be floating point, got torch.int64',
        ),
        (
            dict(query_features=torch.ones(2, 5)),
            ValueError,
            'equally many columns, got 5 and 3',
        ),
        (
            dict(gallery_features=torch.ones(0, 3), gallery_ids=[],
                 gallery_cams=[]),
            ValueError,
            'gallery_features .* at least one row',
        ),
        (
            dict(query_features=torch.ones(0, 3)),
            ValueError,
            'query_features .* at least one row',
        ),
        (
            dict(query_features=torch.ones(3)),
            ValueError,
            r'query_features must be a \(N, D\)',
        ),
        (
            dict(query_ids=[1]),
            ValueError,
            r'query_ids must hold one number per feature row, \(2,\)',
        ),
        (
            dict(gallery_cams=[1.0] * 4),
            TypeError,
            'gallery_cams must be integers',
        ),
        (
            dict(query_ids=[8, 9]),
            ValueError,
            'None of the 2 queries .* another camera',
        ),
        (dict(metric='l2'), ValueError, "metric must be one of .* 'l2'"),
        (dict(ap='voc'), ValueError, "ap must be one of .* 'voc'"),
        (dict(topk=[0]), ValueError, 'topk must be whole numbers >= 1'),
    ],
)  # fmt: skip
def test_bad_input_is_named(change, error, message):
    rank_metrics(**GOOD)
    with pytest.raises(error, match=message):
        rank_metrics(**(GOOD | change))


def test_sets_of_another_distance_are_refused():
    query, gallery = sides(**GOOD)
    distance = FeatureDistance(query, gallery)
    one = query.take(torch.tensor([0]))
    with pytest.raises(ValueError, match='2 query and 4 gallery .* 1 and 4'):
        rank(distance, one, gallery)


@pytest.mark.parametrize('side', [0, 1])
def test_unknown_persons_and_cameras_are_named(side):
    images = list(sides(**GOOD))
    images[side] = replace(images[side], camera_id=None)
    with pytest.raises(ValueError, match='the camera_id of both sets'):
        rank_queries(*images)
    known = rank_queries(*images, camera_rule='none')
    assert known.first_rank.tolist() == [4, 4]
    images[side] = replace(images[side], person_id=None)
    with pytest.raises(ValueError, match='The persons on these'):
        rank_queries(*images, camera_rule='none')

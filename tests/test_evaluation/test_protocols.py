import numpy as np
import pytest
import torch

from mmreid.evaluation import (
    PROTOCOLS,
    Evaluation,
    rank_metrics,
)
from mmreid.evaluation.protocols import SingleGalleryShot
from mmreid.structures import FeatureSet


def make_sides(seed=0, num_query=20, num_gallery=60):
    generator = torch.Generator().manual_seed(seed)

    def side(num):
        return FeatureSet(
            torch.randn(num, 5, generator=generator),
            torch.randint(0, 4, (num,), generator=generator),
            torch.randint(0, 3, (num,), generator=generator),
        )

    return side(num_query), side(num_gallery)


def direct(query, gallery, **kwargs):
    return rank_metrics(
        query.features, gallery.features, query.person_id, gallery.person_id,
        query.camera_id, gallery.camera_id, **kwargs,
    )  # fmt: skip


@pytest.mark.parametrize(
    ('name', 'rule'),
    [
        ('single-query', 'standard'),
        ('no-cameras', 'none'),
        ('cross-camera', 'cross'),
    ],
)
def test_camera_rules(name, rule):
    sides = make_sides()
    expected = direct(*sides, camera_rule=rule, ap='mar', ties='optimistic')
    evaluation = Evaluation(protocol=name, ap='mar', ties='optimistic')
    assert evaluation(*sides) == pytest.approx(expected, rel=1e-12)
    title = evaluation.title(sides[1])
    assert name in title and '"mar"' in title


def test_rules_differ():
    sides = make_sides()
    scores = {
        name: Evaluation(protocol=name)(*sides)['mAP'] for name in PROTOCOLS
    }
    assert len(set(scores.values())) == len(PROTOCOLS) == 5


@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
def test_multi_query_pools_a_person_before_a_camera(metric):
    query, gallery = make_sides()
    places, pooled = [], []
    for person, camera in zip(
        query.person_id.tolist(), query.camera_id.tolist(), strict=True
    ):
        if (person, camera) not in places:
            places.append((person, camera))
    for person, camera in places:
        rows = query.features[
            (query.person_id == person) & (query.camera_id == camera)
        ]
        if metric == 'cosine':
            rows = rows / rows.norm(dim=1, keepdim=True)
        pooled.append(rows.mean(0))
    assert len(places) < len(query.person_id)
    by_hand = FeatureSet(torch.stack(pooled), *torch.tensor(places).T)
    evaluation = Evaluation(protocol='multi-query', metric=metric)
    assert evaluation(query, gallery) == pytest.approx(
        direct(by_hand, gallery, metric=metric)
    )


def test_single_gallery_shot():
    query, gallery = make_sides()
    images = {tuple(row.tolist()): i for i, row in enumerate(gallery.features)}
    protocol = SingleGalleryShot(repeats=30)
    drawn, scores = [], []
    for _, shots in protocol.trials(query, gallery, 'cosine'):
        index = [images[tuple(row.tolist())] for row in shots.features]
        assert torch.equal(gallery.person_id[index], shots.person_id)
        assert torch.equal(gallery.camera_id[index], shots.camera_id)
        places = list(
            zip(
                shots.person_id.tolist(), shots.camera_id.tolist(), strict=True
            )
        )
        # One image for each person and camera that there is.
        assert len(set(places)) == len(places)
        assert set(places) == set(
            zip(
                gallery.person_id.tolist(),
                gallery.camera_id.tolist(),
                strict=True,
            )
        )
        drawn += index
        scores.append(direct(query, shots))
    # Every image has its turn.
    assert set(drawn) == set(range(60))
    assert Evaluation(protocol=protocol)(query, gallery) == pytest.approx(
        {k: np.mean([s[k] for s in scores]) for k in scores[0]}
    )
    # Again the same draws.
    again = Evaluation(protocol=SingleGalleryShot(30))(query, gallery)
    assert again == Evaluation(protocol=protocol)(query, gallery)


def test_gallery_shots_without_cameras():
    query, gallery = make_sides()
    bare = FeatureSet(gallery.features, gallery.person_id)
    protocol = SingleGalleryShot(repeats=1)
    ((_, shots),) = protocol.trials(query, bare, 'cosine')
    assert sorted(shots.person_id.tolist()) == [0, 1, 2, 3]


def test_expansion_and_re_ranking_take_part():
    sides = make_sides(num_gallery=200)
    plain = Evaluation()(*sides)
    assert Evaluation(expand=3)(*sides) != plain
    assert Evaluation(rerank=dict(k1=6, k2=2))(*sides) != plain
    # Nothing but the original distance.
    same = Evaluation(rerank=dict(lambda_value=1.0))(*sides)
    assert same == pytest.approx(plain)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(protocol='single'), "one of .*'single-query'.* got 'single'"),
        (dict(metric='l2'), 'metric must be one of'),
        (dict(ap='map'), 'ap must be one of'),
        (dict(ties='random'), 'ties must be one of'),
        (dict(topk=[0]), 'topk must be whole numbers'),
        (dict(expand=-1), 'expand must be a number of neighbours, got -1'),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        Evaluation(**options)

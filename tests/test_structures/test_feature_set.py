import pytest
import torch

from mmreid.structures import FeatureSet


def make_set(num=6, **changes):
    fields = dict(
        features=torch.arange(num * 3.0).view(num, 3),
        person_id=torch.tensor([4, 2, 4, 2, 9, 4])[:num],
        camera_id=torch.tensor([0, 1, 0, 0, 1, 1])[:num],
        paths=[f'{i}.jpg' for i in range(num)],
    )
    return FeatureSet(**fields | changes)


def test_its_length_is_the_number_of_images():
    assert len(make_set(5)) == 5
    assert len(FeatureSet(torch.ones(0, 3))) == 0


@pytest.mark.parametrize(
    ('index', 'rows'),
    [
        (torch.tensor([5, 0, 0, -2]), [5, 0, 0, 4]),
        (torch.tensor([True, False, False, True, False, True]), [0, 3, 5]),
        (torch.tensor([], dtype=torch.int64), []),
        (torch.zeros(6, dtype=torch.bool), []),
    ],
)
def test_everything_follows_the_images_taken(index, rows):
    images = make_set()
    some = images.take(index)
    assert some.features.tolist() == [
        images.features[i].tolist() for i in rows
    ]
    assert some.person_id.tolist() == [int(images.person_id[i]) for i in rows]
    assert some.camera_id.tolist() == [int(images.camera_id[i]) for i in rows]
    assert list(some.paths) == [f'{i}.jpg' for i in rows]


def test_what_is_unknown_stays_unknown():
    bare = FeatureSet(torch.ones(4, 2))
    for images in (bare.take(torch.tensor([2, 1])), bare.to('cpu')):
        assert images.person_id is images.camera_id is images.paths is None


def test_to_moves_every_tensor_and_nothing_else():
    images = make_set()
    moved = images.to('meta')
    for name in ('features', 'person_id', 'camera_id'):
        assert getattr(moved, name).device.type == 'meta'
        assert getattr(images, name).device.type == 'cpu'
    assert moved.paths == images.paths


def test_places_in_order_of_appearance():
    first, place = make_set().places()
    # (4, 0), (2, 1), (2, 0), (9, 1), (4, 1)
    assert first.tolist() == [0, 1, 3, 4, 5]
    assert place.tolist() == [0, 1, 0, 2, 3, 4]
    first, place = make_set(camera_id=None).places()
    assert first.tolist() == [0, 1, 4]
    assert place.tolist() == [0, 1, 0, 1, 2, 0]


def test_unknown_files_are_named_where_they_are_needed():
    with pytest.raises(ValueError, match='of these 6 images are unknown'):
        make_set(paths=None).known_paths()
    images = make_set()
    assert images.known_paths() is images.paths


def test_unknown_persons_are_named_where_they_are_needed():
    images = make_set(person_id=None)
    for needs in (images.places, images.known_person_id):
        with pytest.raises(ValueError, match='on these 6 images are unknown'):
            needs()
    assert torch.equal(make_set().known_person_id(), make_set().person_id)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (
            dict(features=torch.ones(6)),
            ValueError,
            r'features must be a \(N, D\) tensor, got shape \(6,\)',
        ),
        (
            dict(features=torch.ones(6, 3).long()),
            TypeError,
            'features must be floating point, got torch.int64',
        ),
        (
            dict(features=[[1.0]] * 6),
            TypeError,
            'features must be a tensor, got list',
        ),
        (
            dict(person_id=torch.arange(5)),
            ValueError,
            r'person_id must hold .* \(6,\), got shape \(5,\)',
        ),
        (
            dict(camera_id=torch.ones(6, 1).long()),
            ValueError,
            r'camera_id must hold .* \(6,\), got shape \(6, 1\)',
        ),
        (
            dict(camera_id=torch.ones(6)),
            TypeError,
            'camera_id must be integers, got torch.float32',
        ),
        (
            dict(person_id=[1] * 6),
            TypeError,
            'person_id must be a tensor, got list',
        ),
        (dict(paths=['a.jpg']), ValueError, 'paths must hold .* 6, got 1'),
    ],
)
def test_what_is_wrong_is_named(change, error, message):
    with pytest.raises(error, match=message):
        make_set(**change)

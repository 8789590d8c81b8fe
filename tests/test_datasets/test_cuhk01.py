import os
from pathlib import Path

import pytest

from mmreid.datasets import CUHK01
from mmreid.datasets.random_splits import (
    draw_random_splits,
    write_random_splits,
)


def rows(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(i['person_id'], i['camera_id'], i['is_query']) for i in infos]


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
def test_splits(tmp_path, suffix):
    root = tmp_path / 'campus'
    root.mkdir()
    for person in (3, 1):
        for shot in (1, 2, 3, 4):
            (root / f'{person:04d}{shot:03d}.{suffix}').touch()
    for data_root in (root, tmp_path):
        train = CUHK01(data_root)
        assert rows(train) == [
            (person, camera, 0) for person in (0, 1) for camera in (0, 0, 1, 1)
        ]
        assert (train.num_identities, train.num_cameras) == (2, 2)
        test = CUHK01(data_root, split='test')
        assert rows(test) == [(1, 0, 1), (1, 0, 1), (3, 0, 1), (3, 0, 1)] + [
            (1, 1, 0),
            (1, 1, 0),
            (3, 1, 0),
            (3, 1, 0),
        ]


def test_unknown_shot_and_empty_root(tmp_path):
    with pytest.raises(FileNotFoundError, match='holds no image'):
        CUHK01(tmp_path)
    (tmp_path / '0001005.png').touch()
    with pytest.raises(ValueError, match='0001005.png.*001 to 004'):
        CUHK01(tmp_path)


def touch_campus(root, persons, suffix='png'):
    root.mkdir(parents=True)
    for person in persons:
        for shot in (1, 2, 3, 4):
            (root / f'{person:04d}{shot:03d}.{suffix}').touch()
    return root


def paths(dataset):
    return [
        Path(dataset.get_data_info(i)['img_path']).name
        for i in range(len(dataset))
    ]


@pytest.mark.parametrize('shots, images', [('single', 1), ('multi', 2)])
@pytest.mark.parametrize('persons, train, test', [(971, 485, 486), (7, 3, 4)])
def test_random_splits(tmp_path, shots, images, persons, train, test):
    root = touch_campus(tmp_path / 'campus', range(1, persons + 1))
    file = str(tmp_path / 'splits.json')
    content = write_random_splits(CUHK01(root, shots=shots), file, 3)
    assert content['shots'] == shots
    assert content['counts'] == dict(
        persons=persons,
        train=4 * train,
        query=images * test,
        gallery=images * test,
    )
    for index, listed in enumerate(content['splits']):
        parts = dict(
            split_file=file,
            split_index=index,
            shots=shots,
            serialize_data=False,
        )
        ours = CUHK01(root, **parts)
        assert ours.num_identities == train
        assert rows(ours) == [
            (p, c, 0) for p in range(train) for c in (0, 0, 1, 1)
        ]
        query, gallery = (
            CUHK01(root, split=s, **parts) for s in ('query', 'gallery')
        )
        assert [row[1:] for row in rows(query)] == [(0, 1)] * images * test
        assert [row[1:] for row in rows(gallery)] == [(1, 0)] * images * test
        # The same persons in both, none of them trained on.
        tested = [row[0] for row in rows(query)]
        assert tested == [row[0] for row in rows(gallery)]
        assert len(set(tested)) == test
        trained = {int(name[:4]) for name in paths(ours)}
        assert trained | set(tested) == set(range(1, persons + 1))
        # What the file lists is what is read.
        assert paths(query) == listed['query']
        assert rows(CUHK01(root, split='test', **parts)) == (
            rows(query) + rows(gallery)
        )


def test_single_shots_are_random_and_of_the_same_halves(tmp_path):
    root = touch_campus(tmp_path / 'campus', range(1, 41))
    single, multi = (
        draw_random_splits(CUHK01(root, shots=shots), 4)
        for shots in ('single', 'multi')
    )
    assert CUHK01(root).shots == 'single'
    for ours, theirs in zip(single['splits'], multi['splits'], strict=True):
        assert ours['train'] == theirs['train']
        for part, shots in (('query', '12'), ('gallery', '34')):
            assert set(ours[part]) < set(theirs[part])
            assert {name[6] for name in ours[part]} == set(shots)
    # The cameras' shots are drawn on their own, and anew in each split.
    picks = [
        [name[6] for name in split[part]]
        for split in single['splits']
        for part in ('query', 'gallery')
    ]
    assert len(set(map(tuple, picks))) == 8
    assert 'default_rng([seed, 1])' in single['rule']
    assert 'default_rng([seed, 1])' not in multi['rule']
    fewer = draw_random_splits(CUHK01(root), 2)
    assert fewer['splits'] == single['splits'][:2]
    other = draw_random_splits(CUHK01(root), 2, seed=1)
    assert other['splits'] != fewer['splits']


def test_the_draw_is_what_it_was(tmp_path):
    """Pinned: results of a published seed must not change."""
    root = touch_campus(tmp_path / 'campus', range(1, 7))
    (split,) = draw_random_splits(CUHK01(root), 1)['splits']
    assert split['query'] == ['0001002.png', '0002002.png', '0005002.png']
    assert split['gallery'] == ['0001004.png', '0002003.png', '0005004.png']


def test_split_file_travels(tmp_path):
    root = touch_campus(tmp_path / 'campus', range(1, 7))
    file = str(tmp_path / 'splits.json')
    content = write_random_splits(CUHK01(root), file, 2)
    before = paths(CUHK01(root, split='test', split_file=file))
    # Unpacked elsewhere, without the official folder.
    moved = root.rename(tmp_path / 'images')
    assert paths(CUHK01(moved, split='test', split_file=file)) == before
    assert draw_random_splits(CUHK01(moved), 2) == content


def test_shots_are_those_of_the_file(tmp_path):
    root = touch_campus(tmp_path / 'campus', range(1, 5))
    file = str(tmp_path / 'splits.json')
    write_random_splits(CUHK01(root, shots='multi'), file)
    with pytest.raises(ValueError) as error:
        CUHK01(root, split='test', split_file=file)
    assert f"split_file '{file}' was drawn with shots='multi'" in str(
        error.value
    )
    assert "test with shots='single'" in str(error.value)
    # Both train on the same.
    assert len(CUHK01(root, split_file=file)) == 8
    with pytest.raises(ValueError, match="'single' or 'multi', got 'two'"):
        CUHK01(root, shots='two')


@pytest.mark.real_data
def test_real_counts():
    data = os.environ.get('MMREID_DATA')
    if not data:
        pytest.skip('MMREID_DATA does not name a folder of real data')
    root = Path(data) / 'cuhk01'
    if not root.is_dir():
        pytest.skip(f'{root} does not exist')
    train = CUHK01(root)
    assert (len(train), train.num_identities) == (3_884, 971)
    test = CUHK01(root, split='test')
    assert (len(test), test.num_identities) == (3_884, 971)
    for shots, images in (('single', 486), ('multi', 972)):
        content = draw_random_splits(CUHK01(root, shots=shots))
        assert len(content['splits']) == 10
        assert content['counts'] == dict(
            persons=971, train=1_940, query=images, gallery=images
        )

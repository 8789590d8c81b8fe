import os
from pathlib import Path

import pytest

from mmreid.datasets import VIPeR
from mmreid.datasets.random_splits import write_random_splits
from mmreid.synthetic import write_viper


def rows(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(i['person_id'], i['camera_id'], i['is_query']) for i in infos]


def paths(dataset):
    return {dataset.get_data_info(i)['img_path'] for i in range(len(dataset))}


def test_splits(tmp_path):
    root = tmp_path / 'VIPeR'
    # The angle, the part after the person, differs between the cameras.
    for folder, names in dict(
        cam_a=['000_45.bmp', '873_0.bmp'], cam_b=['000_180.bmp', '873_90.bmp']
    ).items():
        (root / folder).mkdir(parents=True)
        for name in names:
            (root / folder / name).touch()
    for data_root in (root, tmp_path):
        train = VIPeR(data_root)
        assert rows(train) == [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)]
        assert (train.num_identities, train.num_cameras) == (2, 2)
        assert rows(VIPeR(data_root, split='test')) == [
            (0, 0, 1),
            (873, 0, 1),
            (0, 1, 0),
            (873, 1, 0),
        ]
    (root / 'cam_b' / '0001_45.bmp').touch()
    assert len(VIPeR(root, split='query')) == 2
    with pytest.raises(ValueError, match='0001_45.bmp.*PPP_ANGLE.bmp'):
        VIPeR(root, split='gallery')


def test_random_split(tmp_path):
    root = write_viper(str(tmp_path), num_ids=7, size=(16, 32))
    file = str(tmp_path / 'splits.json')
    write_random_splits(VIPeR(root), file, num_splits=3)
    for index in range(3):
        parts = dict(split_file=file, split_index=index, serialize_data=False)
        train = VIPeR(root, **parts)
        assert (len(train), train.num_identities) == (6, 3)
        assert sorted(rows(train)) == sorted(
            (p, c, 0) for p in range(3) for c in range(2)
        )
        query, gallery = (
            rows(VIPeR(root, split=s, **parts)) for s in ('query', 'gallery')
        )
        assert {row[1:] for row in query} == {(0, 1)}
        assert {row[1:] for row in gallery} == {(1, 0)}
        assert len({row[0] for row in query}) == len(query) == 4
        assert [row[0] for row in query] == [row[0] for row in gallery]
        test = VIPeR(root, split='test', **parts)
        assert rows(test) == query + gallery
        assert not paths(train) & paths(test)
    unlabelled = VIPeR(root, labelled=False, split_file=file)
    entries = [unlabelled.get_data_info(i) for i in range(len(unlabelled))]
    assert not any('person_id' in entry for entry in entries)


@pytest.mark.real_data
def test_real_counts():
    data = os.environ.get('MMREID_DATA')
    if not data:
        pytest.skip('MMREID_DATA does not name a folder of real data')
    root = Path(data) / 'viper'
    if not root.is_dir():
        pytest.skip(f'{root} does not exist')
    query, gallery = (VIPeR(root, split=s) for s in ('query', 'gallery'))
    assert len(query) == len(gallery) == 632
    assert [query.get_data_info(i)['person_id'] for i in range(632)] == [
        gallery.get_data_info(i)['person_id'] for i in range(632)
    ]


@pytest.mark.real_data
def test_real_random_splits(tmp_path):
    data = os.environ.get('MMREID_DATA')
    if not data:
        pytest.skip('MMREID_DATA does not name a folder of real data')
    root = Path(data) / 'viper'
    if not root.is_dir():
        pytest.skip(f'{root} does not exist')
    file = str(tmp_path / 'splits.json')
    content = write_random_splits(VIPeR(root), file)
    assert content['counts'] == dict(
        persons=632, train=632, query=316, gallery=316
    )
    training_halves = set()
    for index in range(10):
        parts = dict(split_file=file, split_index=index, serialize_data=False)
        train = VIPeR(root, **parts)
        assert (len(train), train.num_identities) == (632, 316)
        test = rows(VIPeR(root, split='test', **parts))
        query, gallery = test[:316], test[316:]
        assert {row[1:] for row in query} == {(0, 1)}
        assert {row[1:] for row in gallery} == {(1, 0)}
        # By the prefix, the same persons in the same order.
        assert [row[0] for row in query] == [row[0] for row in gallery]
        training_halves.add(tuple(content['splits'][index]['train']))
    assert len(training_halves) == 10

import os
from pathlib import Path

import pytest

from mmreid.datasets import CUHK01


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

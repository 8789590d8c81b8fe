import os
from pathlib import Path

import pytest

from mmreid.datasets import VIPeR


def rows(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(i['person_id'], i['camera_id'], i['is_query']) for i in infos]


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

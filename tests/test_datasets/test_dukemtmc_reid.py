import pytest

from mmreid.datasets import DukeMTMCreID


def make(folder, *names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def test_splits(tmp_path):
    root = tmp_path / 'DukeMTMC-reID'
    make(
        root / 'bounding_box_train',
        '0009_c8_f0047122.jpg',
        '0001_c2_f0046182.jpg',
    )
    make(root / 'query', '0005_c2_f0046985.jpg')
    make(root / 'bounding_box_test', '0005_c5_f0051341.jpg')
    for data_root in (root, tmp_path):
        train = DukeMTMCreID(data_root)
        infos = [train.get_data_info(i) for i in range(2)]
        assert [(i['person_id'], i['camera_id']) for i in infos] == [
            (0, 1),
            (1, 7),
        ]
        assert (train.num_identities, train.num_cameras) == (2, 8)
        test = DukeMTMCreID(data_root, split='test')
        infos = [test.get_data_info(i) for i in range(2)]
        assert [
            (i['person_id'], i['camera_id'], i['is_query']) for i in infos
        ] == [(5, 1, 1), (5, 4, 0)]


def test_market_images_are_refused(tmp_path):
    make(tmp_path / 'query', '0002_c1s1_000451_03.jpg')
    with pytest.raises(ValueError, match='1 names .*0002_c1s1.*PPPP_cC_fF'):
        DukeMTMCreID(tmp_path, split='query')

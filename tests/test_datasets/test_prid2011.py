import pytest

from mmreid.datasets import PRID2011


def rows(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(i['person_id'], i['camera_id'], i['is_query']) for i in infos]


def test_splits(tmp_path):
    root = tmp_path / 'prid_2011' / 'single_shot'
    # Number 201 is one person in view A and another one in view B.
    for folder, persons in dict(
        cam_a=[1, 200, 201], cam_b=[1, 200, 201, 749]
    ).items():
        (root / folder).mkdir(parents=True)
        for person in persons:
            (root / folder / f'person_{person:04d}.png').touch()
    for data_root in (root, *root.parents[:2]):
        train = PRID2011(data_root)
        assert rows(train) == [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)]
        assert rows(PRID2011(data_root, split='test')) == [
            (1, 0, 1),
            (200, 0, 1),
            (1, 1, 0),
            (200, 1, 0),
            (201, 1, 0),
            (749, 1, 0),
        ]


def test_wrong_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="'cam_a'.*single_shot'"):
        PRID2011(tmp_path)

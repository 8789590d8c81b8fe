import pytest

from mmreid.datasets import PRID2011
from mmreid.datasets.random_splits import write_random_splits


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


def touch_views(root, cam_a, cam_b):
    for folder, persons in dict(cam_a=cam_a, cam_b=cam_b).items():
        (root / folder).mkdir(parents=True)
        for person in persons:
            (root / folder / f'person_{person:04d}.png').touch()
    return root


@pytest.mark.parametrize(
    'num_a, num_b, train, query, gallery',
    # The official numbers, then a few persons, an odd number of them shared.
    [(385, 749, 100, 100, 649), (5, 9, 2, 3, 7)],
)
def test_random_split(tmp_path, num_a, num_b, train, query, gallery):
    root = touch_views(
        tmp_path / 'single_shot', range(1, num_a + 1), range(1, num_b + 1)
    )
    file = str(tmp_path / 'splits.json')
    content = write_random_splits(PRID2011(root), file, num_splits=4)
    for index, listed in enumerate(content['splits']):
        parts = dict(split_file=file, split_index=index, serialize_data=False)
        assert rows(PRID2011(root, **parts)) == [
            (p, c, 0) for c in range(2) for p in range(train)
        ]
        test = rows(PRID2011(root, split='test', **parts))
        assert [row[1:] for row in test] == (
            [(0, 1)] * query + [(1, 0)] * gallery
        )
        trained = {int(path[-8:-4]) for path in listed['train']}
        queries = {row[0] for row in test[:query]}
        assert len(trained) == train and len(queries) == query
        # Only shared persons train and query, and those who train are
        # nowhere in the test part.
        assert trained | queries == set(range(1, min(num_a, 200) + 1))
        assert {row[0] for row in test[query:]} == (
            set(range(1, num_b + 1)) - trained
        )

import os
from pathlib import Path

import pytest

from mmreid.datasets import Market1501
from mmreid.registry import DATASETS

NAMES = dict(
    bounding_box_train=[
        '0007_c3s3_077419_03.jpg',
        '0002_c1s1_000451_03.jpg',
        '0002_c6s1_000551_01.jpg',
    ],
    query=['0001_c1s1_001051_00.jpg'],
    bounding_box_test=[
        '-1_c1s1_000401_03.jpg',
        '0000_c1s1_000151_01.jpg',
        '0001_c2s1_001976_01.jpg',
    ],
)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / 'Market-1501-v15.09.15'
    for folder, names in NAMES.items():
        (root / folder).mkdir(parents=True)
        for name in [*names, 'Thumbs.db', 'readme.txt', '._0002.jpg']:
            (root / folder / name).touch()
    return root


def rows(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [
        (Path(i['img_path']).name, i['person_id'], i['camera_id'])
        for i in infos
    ]


def test_splits(root):
    train = Market1501(root)
    assert rows(train) == [
        ('0002_c1s1_000451_03.jpg', 0, 0),
        ('0002_c6s1_000551_01.jpg', 0, 5),
        ('0007_c3s3_077419_03.jpg', 1, 2),
    ]
    assert (train.num_identities, train.num_cameras) == (2, 6)
    # Junk is dropped, the distractor stays.
    assert rows(Market1501(root, split='test')) == [
        ('0001_c1s1_001051_00.jpg', 1, 0),
        ('0000_c1s1_000151_01.jpg', 0, 0),
        ('0001_c2s1_001976_01.jpg', 1, 1),
    ]


def test_parent_folder_and_registry(root):
    config = dict(type='Market1501', data_root=str(root.parent))
    assert rows(DATASETS.build(config)) == rows(Market1501(root))


def test_missing_part_matters_only_when_asked_for(root):
    (root / 'query').rename(root / 'elsewhere')
    assert len(Market1501(root)) == 3
    with pytest.raises(FileNotFoundError) as error:
        Market1501(root, split='test')
    message = str(error.value)
    assert "'query' for split 'test'" in message
    assert f"'{root}'" in message  # both places are named
    assert f"'{root / 'Market-1501-v15.09.15'}'" in message


def test_missing_root(tmp_path):
    with pytest.raises(FileNotFoundError, match="data_root '.*nowhere'"):
        Market1501(tmp_path / 'nowhere')


def test_empty_folder(tmp_path):
    (tmp_path / 'bounding_box_train').mkdir()
    (tmp_path / 'bounding_box_train' / 'Thumbs.db').touch()
    with pytest.raises(FileNotFoundError, match='holds no image'):
        Market1501(tmp_path)


def test_foreign_names(root):
    for i in range(4):
        (root / 'query' / f'cat_{i}.jpg').touch()
    (root / 'query' / '0001_c7s1_000001_00.jpg').touch()  # no camera 7
    with pytest.raises(ValueError) as error:
        Market1501(root, split='query')
    message = str(error.value)
    assert '5 names' in message
    for name in ('0001_c7s1_000001_00.jpg', 'cat_0.jpg', 'cat_1.jpg'):
        assert name in message
    assert 'cat_2.jpg' not in message
    assert 'expected PPPP_cCsS_FFFFFF_BB.jpg' in message


BOXES = [
    '0001_c1s1_001051_00.jpg',
    '0001_c1s2_050021_00.jpg',
    '0001_c2s1_001976_00.jpg',  # no query of this camera
    '0002_c1s1_000451_00.jpg',  # a training person
    '0003_c1s1_000001_00.jpg',
]


@pytest.fixture
def boxes(root):
    (root / 'gt_bbox').mkdir()
    for name in [*BOXES, 'Thumbs.db']:
        (root / 'gt_bbox' / name).touch()
    return root / 'gt_bbox'


def test_multi_query(root, boxes):
    multi = dict(multi_query=True, serialize_data=False)
    before = rows(Market1501(root, split='test'))
    for data_root in (root, root.parent):
        query = Market1501(data_root, split='query', **multi)
        assert rows(query) == [(name, 1, 0) for name in BOXES[:2]]
        folders = {
            Path(query.get_data_info(i)['img_path']).parent.name
            for i in range(2)
        }
        assert folders == {'gt_bbox'}
        test = Market1501(data_root, split='test', **multi)
        assert rows(test) == rows(query) + before[1:]
        flags = [test.get_data_info(i)['is_query'] for i in range(4)]
        assert flags == [1, 1, 0, 0]
    # Nothing else changes.
    assert rows(Market1501(root, **multi)) == rows(Market1501(root))
    assert rows(Market1501(root, split='test')) == before


def test_multi_query_needs_the_boxes(root):
    # Only where queries are read.
    assert len(Market1501(root, split='gallery', multi_query=True)) == 2
    with pytest.raises(FileNotFoundError) as error:
        Market1501(root, split='test', multi_query=True)
    assert f"multi_query=True needs '{root / 'gt_bbox'}'" in str(error.value)


def test_multi_query_loses_no_query(root, boxes):
    for camera in range(2, 7):
        (root / 'query' / f'0003_c{camera}s1_000001_00.jpg').touch()
    message = "no image of 5 of the 6 .*'0003_c2', '0003_c3', '0003_c4', ..."
    with pytest.raises(FileNotFoundError, match=message):
        Market1501(root, split='query', multi_query=True)


@pytest.mark.real_data
def test_real_counts():
    data = os.environ.get('MMREID_DATA')
    if not data:
        pytest.skip('MMREID_DATA does not name a folder of real data')
    root = Path(data) / 'market1501'
    if not root.is_dir():
        pytest.skip(f'{root} does not exist')
    train = Market1501(root)
    assert (len(train), train.num_identities) == (12_936, 751)
    cameras = {train.get_data_info(i)['camera_id'] for i in range(len(train))}
    assert cameras == set(range(6))
    kwargs = dict(val_identities=151, val_seed=0)
    train = Market1501(root, **kwargs)
    val = Market1501(root, split='val', **kwargs)
    assert (train.num_identities, val.num_identities) == (600, 151)
    assert len(train) + len(val) == 12_936


def test_links_to_nothing_are_missing_images(tmp_path):
    folder = tmp_path / 'bounding_box_train'
    folder.mkdir()
    for number in range(4):
        (folder / f'{number:04d}_c1s1_000001_00.jpg').symlink_to('nothing')
    (folder / '0005_c1s1_000001_00.jpg').mkdir()
    (folder / '0006_c1s1_000001_00.jpg').touch()
    with pytest.raises(FileNotFoundError, match='5 of 6 images') as error:
        Market1501(str(tmp_path))
    assert '0002_c1' in str(error.value) and '0003_c1' not in str(error.value)

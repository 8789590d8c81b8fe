import shutil

import pytest

from mmreid.datasets import MSMT17

# Persons of the train and val list share one numbering, those of the query
# and gallery list another; both start at 0.
LISTS = dict(
    list_train=[('train', 0, 1), ('train', 0, 15), ('train', 1, 3)],
    list_val=[('train', 1, 4)],
    list_query=[('test', 0, 2), ('test', 2, 2)],
    list_gallery=[('test', 0, 5), ('test', 2, 6), ('test', 1, 6)],
)
FOLDERS = {
    'MSMT17_V1': dict(train='train', test='test'),
    'MSMT17_V2': dict(train='mask_train_v2', test='mask_test_v2'),
}


def build(tmp_path, version):
    root = tmp_path / version
    for name, entries in LISTS.items():
        lines = []
        for number, (part, person, camera) in enumerate(entries):
            relative = (
                f'{person:04d}/{person:04d}_{number:03d}_{camera:02d}_'
                f'0303morning_00{len(name)}8_0.jpg'
            )
            path = root / FOLDERS[version][part] / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            lines.append(f'{relative} {person}\n')
        (root / f'{name}.txt').write_text(''.join(lines))
    return root


def rows(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(i['person_id'], i['camera_id'], i['is_query']) for i in infos]


@pytest.mark.parametrize('version', FOLDERS)
def test_splits(tmp_path, version):
    root = build(tmp_path, version)
    for data_root in (root, tmp_path):
        train = MSMT17(data_root)
        assert sorted(rows(train)) == [
            (0, 0, 0),
            (0, 14, 0),
            (1, 2, 0),
            (1, 3, 0),
        ]
        assert (train.num_identities, train.num_cameras) == (2, 15)
        assert rows(MSMT17(data_root, split='test')) == [
            (0, 1, 1),
            (2, 1, 1),
            (0, 4, 0),
            (1, 5, 0),
            (2, 5, 0),
        ]


def test_combine_all_keeps_train_and_test_persons_apart(tmp_path):
    root = build(tmp_path, 'MSMT17_V1')
    dataset = MSMT17(root, combine_all=True)
    assert len(dataset) == 9
    assert dataset.num_identities == 5
    for i in range(9):
        info = dataset.get_data_info(i)
        part, person = info['img_path'].split('/')[-3:-1]
        offset = 0 if part == 'train' else 2
        assert info['person_id'] == int(person) + offset
    for split in ('query', 'gallery', 'test'):
        with pytest.raises(ValueError, match='combine_all=True'):
            MSMT17(root, split=split, combine_all=True)


def test_only_the_part_asked_for_is_needed(tmp_path):
    root = build(tmp_path, 'MSMT17_V1')
    shutil.rmtree(root / 'test')
    assert len(MSMT17(root)) == 4
    with pytest.raises(FileNotFoundError, match="'test or mask_test_v2'"):
        MSMT17(root, split='query')


def test_errors(tmp_path):
    root = build(tmp_path, 'MSMT17_V1')
    next((root / 'test' / '0001').iterdir()).unlink()
    with pytest.raises(FileNotFoundError, match='1 images .*/0001_002_06_'):
        MSMT17(root, split='gallery')
    (root / 'list_query.txt').write_text('0000/0000_a.jpg 0\nnonsense\n')
    with pytest.raises(ValueError, match="2 names .*'nonsense'; expected"):
        MSMT17(root, split='query')
    (root / 'list_val.txt').unlink()
    with pytest.raises(FileNotFoundError, match='list_val.txt'):
        MSMT17(root)


def test_two_versions_below_the_root_are_ambiguous(tmp_path):
    for version in FOLDERS:
        build(tmp_path, version)
    with pytest.raises(ValueError, match='ambiguous.*MSMT17_V1.*MSMT17_V2'):
        MSMT17(tmp_path)

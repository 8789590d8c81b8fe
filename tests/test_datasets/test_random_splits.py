import json
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreid.datasets import PRID2011, Record, VIPeR
from mmreid.datasets.random_splits import (
    RandomSplitDataset,
    draw_random_splits,
    write_random_splits,
)


class Views(RandomSplitDataset):
    """Persons of two views, without files; sorted by nobody."""

    METAINFO = dict(dataset_name='views', num_cameras=2, pattern='')
    cameras = (0, 1)

    def __init__(self, view_a, view_b, **kwargs):
        self.views = dict(query=(view_a, 0), gallery=(view_b, 1))
        super().__init__('root', lazy_init=True, **kwargs)

    def load_all_records(self, split):
        persons, camera = self.views[split]
        return [
            Record(f'root/view_{camera}/{person:03d}.png', person, camera)
            for person in persons
        ]


def persons_of(paths):
    return {int(path[-7:-4]) for path in paths}


person_lists = st.lists(st.integers(0, 40), unique=True, max_size=30)


@given(person_lists, person_lists, st.integers(0, 2**32), st.randoms())
@settings(max_examples=50, deadline=None)
def test_every_split_follows_the_rule(view_a, view_b, seed, random):
    shared = set(view_a) & set(view_b)
    if len(shared) < 2:
        with pytest.raises(ValueError, match=f'has {len(shared)} persons in'):
            draw_random_splits(Views(view_a, view_b), seed=seed)
        return
    content = draw_random_splits(Views(view_a, view_b), 4, seed)
    assert content['counts']['persons'] == len(shared)
    assert (content['dataset'], content['seed']) == ('views', seed)
    for split in content['splits']:
        train, query, gallery = (
            persons_of(split[part]) for part in ('train', 'query', 'gallery')
        )
        assert len(train) == len(shared) // 2
        assert train | query == shared and not train & query
        assert gallery == set(view_b) - train
        assert sorted(split['train']) == sorted(
            f'view_{camera}/{person:03d}.png'
            for person in train
            for camera in range(2)
        )
        assert all(path.startswith('view_0/') for path in split['query'])
        assert all(path.startswith('view_1/') for path in split['gallery'])
        for part, paths in split.items():
            assert len(paths) == content['counts'][part]
            assert len(set(paths)) == len(paths)
    # In whatever order a file system lists the names.
    random.shuffle(view_a)
    random.shuffle(view_b)
    assert draw_random_splits(Views(view_a, view_b), 4, seed) == content
    # More splits go on where fewer stop.
    fewer = draw_random_splits(Views(view_a, view_b), 2, seed)
    assert fewer['splits'] == content['splits'][:2]


def test_the_draw_is_what_it_was():
    """Pinned: results of a published seed must not change."""
    content = draw_random_splits(Views(range(6), range(8)), 2, seed=0)
    assert [sorted(persons_of(s['train'])) for s in content['splits']] == [
        [2, 3, 5],
        [1, 4, 5],
    ]
    other = draw_random_splits(Views(range(6), range(8)), 2, seed=1)
    assert other['splits'] != content['splits']
    assert len({str(s) for s in content['splits']}) == 2


def touch_viper(root, persons):
    for folder, angle in dict(cam_a=0, cam_b=90).items():
        (root / folder).mkdir(parents=True)
        for person in persons:
            (root / folder / f'{person:03d}_{angle}.bmp').touch()
    return root


@pytest.fixture
def viper(tmp_path):
    return touch_viper(tmp_path / 'VIPeR', range(10, 20))


@pytest.fixture
def split_file(viper, tmp_path):
    file = tmp_path / 'splits.json'
    write_random_splits(VIPeR(viper), str(file), num_splits=2, seed=7)
    return file


def test_file_travels(viper, split_file, tmp_path):
    content = json.loads(split_file.read_text())
    assert (content['seed'], len(content['splits'])) == (7, 2)
    assert 'shots' not in content  # one image per view: nothing to draw
    assert 'numpy.random.default_rng(seed)' in content['rule']
    assert str(tmp_path) not in split_file.read_text()
    # The other machine has the same images in another place, below the
    # official name or not.
    before = VIPeR(viper, split_file=split_file, split_index=1)
    elsewhere = tmp_path / 'elsewhere' / 'VIPeR'
    shutil.move(viper, elsewhere)
    for root in (elsewhere, elsewhere.parent):
        after = VIPeR(root, split_file=split_file, split_index=1)
        assert [os.path.relpath(p, elsewhere) for p in paths(after)] == [
            os.path.relpath(p, viper) for p in paths(before)
        ]
        again = tmp_path / 'again.json'
        write_random_splits(VIPeR(root), str(again), num_splits=2, seed=7)
        assert again.read_bytes() == split_file.read_bytes()
    # A data set that reads a split still draws from all its images.
    assert draw_random_splits(after, 2, 7) == content


def paths(dataset):
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def test_missing_file(viper):
    with pytest.raises(FileNotFoundError, match="'no.json' of VIPeR does not"):
        VIPeR(viper, split_file='no.json')


@pytest.mark.parametrize(
    'text',
    ['', '[]', '{"dataset": "viper", "splits": [{"train": []}]}', '\0\xff'],
)
def test_foreign_file(viper, tmp_path, text):
    file = tmp_path / 'foreign.json'
    file.write_text(text, encoding='latin-1')
    with pytest.raises(ValueError, match='is no file of random splits'):
        VIPeR(viper, split_file=str(file))


def test_file_of_another_data_set(split_file, tmp_path):
    with pytest.raises(ValueError, match="of 'viper', but.*PRID2011.*prid201"):
        PRID2011(tmp_path, split_file=str(split_file))


@pytest.mark.parametrize('index', [-1, 2])
def test_index_out_of_range(viper, split_file, index):
    with pytest.raises(ValueError, match=f'must be 0 to 1 for.*got {index}'):
        VIPeR(viper, split_file=str(split_file), split_index=index)


def test_images_not_on_disk(viper, split_file):
    listed = json.loads(split_file.read_text())['splits'][0]['train'][:4]
    for path in listed:
        (viper / path).unlink()
    with pytest.raises(FileNotFoundError) as error:
        VIPeR(viper, split_file=str(split_file))
    message = str(error.value)
    assert "VIPeR: 4 images that split 0 of '" in message
    assert ', '.join(f"'{path}'" for path in listed[:3]) in message
    assert listed[3] not in message
    # They are of no concern to the other part.
    assert len(VIPeR(viper, split='query', split_file=str(split_file))) == 5


def test_path_outside_the_data_set(viper, split_file):
    content = json.loads(split_file.read_text())
    content['splits'][0]['train'][0] = '../splits.json'
    split_file.write_text(json.dumps(content))
    with pytest.raises(FileNotFoundError, match="'../splits.json'"):
        VIPeR(viper, split_file=str(split_file))


@pytest.mark.parametrize('split', ['train', 'query', 'gallery'])
def test_training_on_who_is_tested(viper, split_file, split):
    content = json.loads(split_file.read_text())
    halves = content['splits'][1]
    halves['train'].append(halves['gallery'][0])
    split_file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match='trains on 1 persons that it also'):
        VIPeR(viper, split, split_file=str(split_file), split_index=1)


def test_number_of_splits(viper):
    with pytest.raises(ValueError, match='num_splits must be 1 or more'):
        draw_random_splits(VIPeR(viper), 0)

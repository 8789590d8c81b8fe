"""Behaviour that every data set inherits, on a small invented one."""

import pickle
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.dataset import BaseDataset

from mmreid.datasets import BaseReIDDataset, Record
from mmreid.datasets.transforms import UnreadableImageError
from mmreid.errors import InputError

# No time limit: a busy machine must not fail a test.
SETTINGS = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# Secret ids are large and odd so that they are recognisable in a pickle.
IDS = (7_654_321, 1_234_567, 4_444_447)


class Invented(BaseReIDDataset):
    METAINFO = dict(dataset_name='invented', num_cameras=3, pattern='none')
    cameras = (10, 20, 30)
    records = [
        Record(f'{image:02d}.jpg', person, camera)
        for image, (person, camera) in enumerate(
            (p, c) for p in IDS for c in (20, 30) for _ in range(2)
        )
    ] + [Record('99.jpg', -1, 20)]

    def load_records(self, split):
        if split == 'train':
            return self.records[::-1]
        return [r._replace(path=f'{split}/{r.path}') for r in self.records[:2]]


def infos(dataset):
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def column(dataset, key):
    return [info[key] for info in infos(dataset)]


def test_train_entries(tmp_path):
    dataset = Invented(tmp_path)
    assert len(dataset) == 12  # the junk image is dropped
    assert column(dataset, 'img_path') == [f'{i:02d}.jpg' for i in range(12)]
    # relabelled in sorted order of the raw ids, which is not file order
    assert column(dataset, 'person_id') == [2] * 4 + [0] * 4 + [1] * 4
    # camera 10 is known though no image shows it
    assert column(dataset, 'camera_id') == [1, 1, 2, 2] * 3
    assert infos(dataset)[5] == dict(
        img_path='05.jpg',
        person_id=0,
        camera_id=1,
        is_query=0,
        sample_idx=5,
    )
    assert (dataset.num_identities, dataset.num_cameras) == (3, 3)
    assert not dataset.test_mode


def test_evaluation_splits_keep_raw_ids(tmp_path):
    test = Invented(tmp_path, split='test')
    assert column(test, 'person_id') == [IDS[0]] * 4
    assert column(test, 'is_query') == [1, 1, 0, 0]
    assert [p.split('/')[0] for p in column(test, 'img_path')] == [
        'query',
        'query',
        'gallery',
        'gallery',
    ]
    assert column(Invented(tmp_path, split='query'), 'is_query') == [1, 1]
    assert column(Invented(tmp_path, split='gallery'), 'is_query') == [0, 0]
    assert test.test_mode
    assert not Invented(tmp_path, split='test', test_mode=False).test_mode


@pytest.mark.parametrize('serialize_data', [True, False])
@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_unlabelled_holds_no_identity(tmp_path, split, serialize_data):
    kwargs = dict(split=split, val_identities=1, serialize_data=serialize_data)
    labelled = Invented(tmp_path, **kwargs)
    dataset = Invented(tmp_path, labelled=False, **kwargs)
    assert not any('person_id' in info for info in infos(dataset))
    assert dataset.num_identities == 0
    # The same images, though the cut needed the identities.
    assert column(dataset, 'img_path') == column(labelled, 'img_path')

    def holds_id(obj):
        state = pickle.dumps(obj.__dict__ | {'data_list': infos(obj)})
        return any(pickle.dumps(i)[-5:-1] in state for i in IDS)

    assert not holds_id(dataset)
    if split != 'train':  # the search finds what is there
        assert holds_id(labelled)


def test_unlabelled_is_blind_to_shuffled_identities(tmp_path):
    class Shuffled(Invented):
        records = [
            r._replace(person_id=p)
            for r, p in zip(
                Invented.records[:-1],
                random.Random(1).sample(IDS * 4, 12),
                strict=True,
            )
        ]

    one = Invented(tmp_path, labelled=False)
    two = Shuffled(tmp_path, labelled=False)
    assert infos(one) == infos(two)
    vars_of = [
        {k: v for k, v in vars(d).items() if k not in ('pipeline',)}
        for d in (one, two)
    ]
    assert pickle.dumps(vars_of[0]) == pickle.dumps(vars_of[1])


@SETTINGS
@given(
    views=st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from((10, 20, 30))),
        min_size=1,
        max_size=40,
    ),
    number=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_validation_cut(views, number, seed):
    class Drawn(Invented):
        records = [Record(f'{i:02d}', p, c) for i, (p, c) in enumerate(views)]

    person_ids = {p for p, _ in views}
    raw = {f'{i:02d}': view for i, view in enumerate(views)}
    kwargs = dict(
        data_root='.', val_identities=number, val_seed=seed, lazy_init=True
    )
    train = Drawn(split='train', **kwargs)
    val = Drawn(split='val', **kwargs)
    if number >= len(person_ids):
        with pytest.raises(ValueError, match='val_identities=.* too large'):
            train.full_init()
        return
    try:
        val.full_init()
    except ValueError as error:
        assert 'one image per identity and camera' in str(error)
        return
    train_paths, val_paths = column(train, 'img_path'), column(val, 'img_path')
    assert sorted(train_paths + val_paths) == sorted(raw)
    train_ids = {raw[p][0] for p in train_paths}
    val_ids = {raw[p][0] for p in val_paths}
    assert not train_ids & val_ids and len(val_ids) == number
    assert train.num_identities == len(train_ids)
    assert val.num_identities == number
    queries = [i for i in infos(val) if i['is_query']]
    gallery = [i for i in infos(val) if not i['is_query']]
    assert infos(val) == queries + gallery
    # One query per identity and camera: the first of its images.
    views_of_queries = [raw[i['img_path']] for i in queries]
    assert len(views_of_queries) == len(set(views_of_queries))
    for info in gallery:
        view = raw[info['img_path']]
        query = queries[views_of_queries.index(view)]
        assert query['img_path'] < info['img_path']
        assert info['person_id'] == view[0]


def test_validation_draw_is_seeded_and_leaves_the_global_rng(tmp_path):
    class Many(Invented):
        records = [Record(f'{i:03d}', i // 2, 10) for i in range(100)]

    def held_out(seed):
        dataset = Many(tmp_path, split='val', val_identities=10, val_seed=seed)
        return column(dataset, 'person_id')

    random.seed(0)
    np.random.seed(0)
    states = random.getstate(), np.random.get_state()[1].tolist()
    first = held_out(3)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    random.seed(1)
    np.random.seed(1)
    assert held_out(3) == first
    assert held_out(4) != first
    assert sorted(set(first)) != list(range(10))


def test_one_image_per_view_cannot_be_cut(tmp_path):
    class Single(Invented):
        records = [Record(f'{i}', i // 2, 10 * (1 + i % 2)) for i in range(8)]

    with pytest.raises(ValueError, match='one image per identity and camera'):
        Single(tmp_path, split='val', val_identities=2)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(split='trian'), "split must be one of .* got 'trian'"),
        (dict(on_error='ignore'), "on_error must be 'raise' or 'skip'"),
        (dict(val_identities=-1), 'val_identities must be 0 or more'),
        (dict(val_identities=None), 'val_identities must be 0 .* got None'),
        (dict(split='val'), "more than 0 for split='val'"),
        (dict(val_identities=3), 'has 3 training identities'),
    ],
)
def test_bad_arguments(tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message):
        Invented(tmp_path, **kwargs)


def test_bad_records(tmp_path):
    class Junk(Invented):
        records = [Record('a', -1, 10)]

    class Camera(Invented):
        records = [Record('a', 1, 11)]

    with pytest.raises(FileNotFoundError, match="'train'.* not junk"):
        Junk(tmp_path)
    with pytest.raises(ValueError, match=r'camera ids \[11\].*\[10, 20, 30\]'):
        Camera(tmp_path)


class Fragile:
    """A pipeline in which the images of some indices are unreadable."""

    def __init__(self, *broken):
        self.broken = broken

    def __call__(self, info):
        if info['sample_idx'] in self.broken:
            raise UnreadableImageError(f'broken {info["img_path"]}')
        return info


def test_unreadable_raises_by_default(tmp_path):
    dataset = Invented(tmp_path, pipeline=[Fragile(3)])
    assert dataset[2]['skipped_idx'] == -1
    with pytest.raises(UnreadableImageError, match='broken 03.jpg'):
        dataset[3]


@pytest.mark.parametrize('split', ['train', 'test'])
def test_skip_delivers_the_next_readable(tmp_path, split):
    last = len(Invented(tmp_path, split=split)) - 1
    dataset = Invented(
        tmp_path,
        split=split,
        on_error='skip',
        pipeline=[Fragile(last - 1, last)],
    )
    state = random.getstate(), np.random.get_state()[1].tolist()
    for asked in (last - 1, last, -1):
        with pytest.warns(UserWarning, match='Skipped: broken'):
            item = dataset[asked]
        # Past the end it goes on at the start.
        assert item['sample_idx'] == 0
        assert item['skipped_idx'] == asked % len(dataset)
    assert dataset[0]['skipped_idx'] == -1
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state


@pytest.mark.filterwarnings('ignore:Skipped')
def test_skip_gives_up_when_nothing_is_readable(tmp_path):
    dataset = Invented(
        tmp_path, on_error='skip', pipeline=[Fragile(*range(12))]
    )
    with pytest.raises(InputError, match='None of the 12 images.*00.jpg'):
        dataset[4]


def test_index_out_of_range(tmp_path):
    dataset = Invented(tmp_path)
    assert len(list(dataset)) == 12  # iteration ends
    with pytest.raises(IndexError):
        dataset[12]
    with pytest.raises(IndexError):
        dataset[-13]


def test_a_subset_leaves_nothing_for_the_next(tmp_path):
    # MMEngine's memo of copies, one for the process: what is in it is taken
    # for parts of later data sets that lie at the same address.
    (memo,) = BaseDataset._copy_without_annotation.__defaults__
    before = len(memo)
    assert len(Invented(tmp_path).get_subset([0])) == 1
    assert len(memo) == before


def test_lazy_and_subset(tmp_path):
    dataset = Invented(tmp_path, lazy_init=True)
    assert dataset.metainfo['dataset_name'] == 'invented'
    assert not dataset._fully_initialized
    assert dataset.num_identities == 3
    subset = Invented(tmp_path, indices=2)
    assert column(subset, 'person_id') == [2, 2]  # labels as without it

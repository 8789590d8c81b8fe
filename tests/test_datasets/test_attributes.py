import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.dataset import default_collate
from scipy.io import savemat
from tiny_mar import train
from torch.utils.data import DataLoader

from mmreid.datasets import MSMT17, DomainDataset, DukeMTMCreID
from mmreid.datasets import Market1501 as Market
from mmreid.datasets.attributes import (
    FIELDS,
    attribute_names,
    read_attributes,
)
from mmreid.synthetic import (
    DOMAINS,
    Identity,
    identity_attributes,
    write_dukemtmc,
    write_market1501,
)

# No time limit: a busy machine must not fail a test.
SETTINGS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
    ],
)
SMALL = dict(
    num_train_ids=3, num_test_ids=2, images_per_camera=2, size=(16, 32)
)
PIPELINE = [dict(type='LoadReIDImage'), dict(type='PackReIDInputs')]


def draw(kind, person_ids, seed=0):
    """Fields of one part, in an order of its own."""
    rng = random.Random(seed)
    fields = rng.sample(FIELDS[kind], len(FIELDS[kind]))
    struct = {
        field: np.uint8(
            [
                rng.choices(range(5 if field == 'age' else 3))[0]
                for _ in person_ids
            ]
        )
        for field in fields
    }
    struct['image_index'] = np.array(
        [f'{p:04d}' for p in person_ids] + [None], object
    )[:-1]
    return struct


def save(path, kind, train, test, name=None):
    savemat(path, {name or f'{kind}_attribute': dict(train=train, test=test)})
    return str(path)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('synthetic')
    write_market1501(str(root), num_cameras=1, **SMALL)
    write_dukemtmc(str(root), num_cameras=1, **SMALL)
    return root


def market(root, **kwargs):
    return (
        dict(
            type='Market1501',
            data_root=str(root),
            attribute_file=f'{root}/Market-1501-v15.09.15/market_attribute.mat',
            pipeline=PIPELINE,
        )
        | kwargs
    )


def duke(root, **kwargs):
    return (
        dict(
            type='DukeMTMCreID',
            data_root=str(root),
            attribute_file=f'{root}/DukeMTMC-reID/duke_attribute.mat',
            pipeline=PIPELINE,
        )
        | kwargs
    )


def build(config):
    cls = dict(Market1501=Market, DukeMTMCreID=DukeMTMCreID)[config['type']]
    return cls(**{k: v for k, v in config.items() if k != 'type'})


def infos(dataset):
    return [dataset.get_data_info(i) for i in range(len(dataset))]


@SETTINGS
@given(
    kind=st.sampled_from(['market', 'duke']),
    age=st.sampled_from(['adult', 'one_hot']),
    person_ids=st.lists(st.integers(1, 1501), min_size=1, unique=True),
    seed=st.integers(0, 99),
)
def test_both_parts_are_read_by_name(tmp_path, kind, age, person_ids, seed):
    if kind == 'duke':
        age = 'adult'
    half = (len(person_ids) + 1) // 2
    parts = dict(
        train=draw(kind, person_ids[:half], seed),
        test=draw(kind, person_ids[half:] or [7], seed + 100),
    )
    path = save(tmp_path / 'a.mat', kind, **parts)
    names = attribute_names(kind, age)
    ages = dict(
        adult=dict(adult=(3, 4)),
        one_hot=dict(age_young=[1], age_teenager=[2], age_adult=[3])
        | dict(age_old=[4]),
    )[age]
    for part, struct in parts.items():
        rows = read_attributes(path, kind, part, age)
        assert list(rows) == [int(p) for p in struct['image_index']]
        for i, row in enumerate(rows.values()):
            assert len(row) == len(names)
            for name, value in zip(names, row, strict=True):
                raw = struct['age' if name in ages else name][i]
                one = raw in ages.get(name, [2])
                assert type(value) is int
                assert value == (-1 if raw == 0 else int(one))


def test_names():
    assert len(attribute_names('market')) == 27
    assert attribute_names('market')[:2] == ['adult', 'backpack']
    one_hot = attribute_names('market', 'one_hot')
    assert len(one_hot) == len(set(one_hot)) == 30
    assert one_hot[4:] == attribute_names('market')[1:]
    assert len(attribute_names('duke')) == 23


def test_entries(root):
    for config in (market(root), duke(root)):
        dataset = build(config)
        names = dataset.metainfo['attribute_names']
        assert len(dataset) == 6
        for info in infos(dataset):
            # What the embedded persons were drawn with. Market-1501 is
            # drawn as the target domain.
            domain = DOMAINS['target' if 'adult' in names else 'source']
            person = Identity.sample(domain, 0, info['person_id'])
            raw = identity_attributes(person)
            raw['adult'] = 1 + (raw['age'] >= 3)
            assert info['attributes'] == tuple(raw[n] - 1 for n in names)
            assert set(info['attributes']) == {0, 1}
    plain = build(market(root, attribute_file=None))
    assert 'attributes' not in plain.get_data_info(0)
    assert 'attribute_names' not in plain.metainfo
    # The names are known before anything is read.
    lazy = build(market(root, age='one_hot', lazy_init=True))
    assert len(lazy.metainfo['attribute_names']) == 30
    assert len(lazy.get_data_info(0)['attributes']) == 30


def test_parts_of_the_splits(root, tmp_path):
    # Train part: all 2; test part: all 1.
    parts = {}
    for part, ids, value in (('train', (1, 2, 3), 2), ('test', (4, 5), 1)):
        parts[part] = draw('market', ids)
        for field in FIELDS['market']:
            parts[part][field][:] = value
    file = save(tmp_path / 'a.mat', 'market', **parts)
    config = market(root, attribute_file=file)
    del config['type']
    for split in ('train', 'val'):
        entries = infos(Market(**config, split=split, val_identities=1))
        assert {i['attributes'] for i in entries} == {(0,) + (1,) * 26}
    for split in ('query', 'gallery', 'test'):
        entries = infos(Market(**config, split=split))
        distractors = [i for i in entries if i['person_id'] == 0]
        assert bool(distractors) == (split != 'query')
        for info in entries:
            assert info['attributes'] == (-int(info in distractors),) * 27


def test_batches(root):
    dataset = DomainDataset(
        source=market(root),
        target=duke(root, attribute_file=None, labelled=False),
    )
    names = dataset.metainfo['attribute_names']
    assert names == attribute_names('market')
    for i in (0, 6):  # the source, the target
        row = dataset[i]['data_samples']['attributes']
        assert row.dtype == np.int64  # an array crosses the queue by value
        assert tuple(row) == dataset.get_data_info(i)['attributes']
    loader = DataLoader(dataset, 12, collate_fn=default_collate, num_workers=1)
    attributes = next(iter(loader))['data_samples']['attributes']
    assert attributes.dtype == torch.int64 and attributes.shape == (12, 27)
    assert attributes[:6].min() == 0 and attributes[:6].max() == 1
    assert (attributes[6:] == -1).all()


def test_several_sources(root):
    kwargs = dict(attribute_file=None, labelled=False)
    one, two = market(root), duke(root)
    with pytest.raises(ValueError) as error:
        DomainDataset(source=[one, two])
    assert 'market1501 27 (adult, backpack, bag...), dukemtmc_reid 23' in str(
        error.value
    )
    with pytest.raises(ValueError, match='same attributes.*_reid none: check'):
        DomainDataset(source=[one, two | dict(attribute_file=None)])
    with pytest.raises(ValueError, match='market1501 27.*market1501 30'):
        DomainDataset(source=[one, one | dict(age='one_hot')])
    with pytest.raises(ValueError, match="domains 'a' and 'b' .* differ"):
        DomainDataset(a=one, b=two)
    # Sources without attributes: neither names nor values.
    dataset = DomainDataset(
        source=one | dict(attribute_file=None), target=two | kwargs
    )
    assert 'attribute_names' not in dataset.metainfo
    assert all('attributes' not in i['data_samples'] for i in dataset)


def test_names_reach_the_checkpoint(tiny_config, tmp_path):
    file = save(tmp_path / 'a.mat', 'market', draw('market', range(1, 7)), {})
    cfg = tiny_config(
        train_dataloader__dataset__source__attribute_file=file,
        train_cfg__order=['pretrain'],
        test_dataloader=None,
        test_evaluator=None,
        test_cfg=None,
    )
    del cfg.train_cfg.stages['main']
    work_dir = Path(train(cfg).work_dir)
    path = work_dir / (work_dir / 'last_checkpoint').read_text()
    meta = torch.load(path)['meta']
    assert meta['dataset_meta']['attribute_names'] == attribute_names('market')


def test_no_leak_to_the_unlabelled(root):
    with pytest.raises(ValueError, match='attribute_file out with labelled='):
        build(market(root, labelled=False))


def test_needs_published_attributes(root):
    with pytest.raises(ValueError, match='MSMT17 has no published attrib'):
        MSMT17(str(root), attribute_file='market_attribute.mat')


def test_age(root):
    with pytest.raises(ValueError, match="'adult', 'one_hot'.*got 'binary'"):
        build(market(root, age='binary'))
    with pytest.raises(ValueError, match="'duke' hold no age.*'one_hot'"):
        build(duke(root, age='one_hot'))


def test_no_such_file(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="'.*none.mat' does not exist"):
        build(market(root, attribute_file=str(tmp_path / 'none.mat')))


def test_other_data_set(root):
    file = duke(root)['attribute_file']
    with pytest.raises(ValueError) as error:
        build(market(root, attribute_file=file))
    assert str(error.value) == (
        f"attribute_file '{file}' is not market_attribute.mat: the file must "
        "hold ['market_attribute'], found ['duke_attribute']."
    )


@SETTINGS
@given(kept=st.floats(0, 0.999))
def test_damaged_file(root, tmp_path, kept):
    content = Path(market(root)['attribute_file']).read_bytes()
    path = tmp_path / 'cut.mat'
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match="'.*cut.mat' (cannot|is not)"):
        read_attributes(str(path), 'market', 'train')


def test_no_mat_file(tmp_path):
    path = tmp_path / 'a.mat'
    path.write_text('person,age\n' * 50)
    with pytest.raises(ValueError, match='cannot be read as a .mat file'):
        read_attributes(str(path), 'market', 'train')


def test_unannotated_identities(root, tmp_path):
    file = save(tmp_path / 'a.mat', 'market', draw('market', [2, 9]), {})
    with pytest.raises(ValueError) as error:
        build(market(root, attribute_file=file))
    assert (
        "lacks in its 'train' part 2 of the 3 persons in split 'train' of "
        'Market1501: 0001, 0003; check' in str(error.value)
    )


def change(**fields):
    return lambda struct: struct.update(fields)


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda s: s.pop('hat'), r"train must hold \['hat'\], found \['"),
        (lambda s: s.pop('image_index'), r"must hold \['image_index'\]"),
        (lambda s: s.clear(), r"train must hold \['age', 'backpack'"),
        (change(hat=[1, 3, 1]), r"'hat' of 'train' .* 1 to 2, .*others: \[3"),
        (change(age=[1, 5, 9]), r"'age' .* 1 to 4, .* got 2 others: \[5, 9"),
        (change(bag=[1, np.nan, 1]), 'got 1 others: .nan'),
        (change(bag=[1, 1.5, 1]), 'got 1 others: .1.5'),
        (change(bag=[1, 2]), r"'bag'.* each of the 3 persons.*shape \(2,\)"),
        (change(bag='112'), "'bag' of 'train' must hold one number"),
        (change(image_index=[1, 2, 2]), 'each person once, got 3 .* 2 pers'),
        (change(image_index=['a', 'b', 'c']), "such as '0002', got .'a', 'b"),
    ],
)
def test_spoilt_part(tmp_path, spoil, message):
    struct = draw('market', [1, 2, 3])
    spoil(struct)
    file = save(tmp_path / 'a.mat', 'market', struct, {})
    with pytest.raises(ValueError, match=f"attribute_file '.*{message}"):
        read_attributes(file, 'market', 'train')


def test_missing_part(tmp_path):
    path = str(tmp_path / 'a.mat')
    savemat(path, dict(duke_attribute=dict(train=draw('duke', [1, 2]))))
    with pytest.raises(ValueError, match=r"must hold \['test'\], found .'tra"):
        read_attributes(path, 'duke', 'test')
    savemat(path, dict(duke_attribute=[1, 2]))
    with pytest.raises(ValueError, match=r"must hold \['test'\], found \[\]"):
        read_attributes(path, 'duke', 'test')


@pytest.mark.real_data
def test_official_files():
    data = os.environ.get('MMREID_DATA')
    if not data:
        pytest.skip('MMREID_DATA does not name a folder of real data')
    folder = Path(data) / 'attributes'
    if not folder.is_dir():
        pytest.skip(f'{folder} does not exist')

    def read(kind, part, *age):
        path = str(folder / f'{kind}_attribute.mat')
        rows = read_attributes(path, kind, part, *age)
        return rows, np.array(list(rows.values()))

    for kind, part, shape in (
        ('market', 'train', (751, 27)),
        ('market', 'test', (750, 27)),
        ('duke', 'train', (702, 23)),
        ('duke', 'test', (1110, 23)),
    ):
        rows, values = read(kind, part)
        assert values.shape == shape
        names = attribute_names(kind)
        unknown = {
            (person, names[i])
            for person, row in rows.items()
            for i, value in enumerate(row)
            if value < 0
        }
        assert unknown == (
            {(370, 'top'), (679, 'top')}
            if (kind, part) == ('duke', 'train')
            else set()
        )
    for part in ('train', 'test'):
        one_hot = read('market', part, 'one_hot')[1]
        assert (one_hot[:, :4].sum(1) == 1).all()
        adult = read('market', part)[1][:, 0]
        assert np.array_equal(adult, one_hot[:, 2:4].sum(1))
    # Only one colour that nobody of the test part wears below.
    values = read('market', 'test')[1]
    names = np.array(attribute_names('market'))
    assert names[values.max(0) == 0].tolist() == ['downpurple']

import json
import pickle

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict

from mmreid.datasets import DomainDataset
from mmreid.errors import InputError
from mmreid.registry import DATASETS

PIPELINE = [dict(type='LoadReIDImage'), dict(type='PackReIDInputs')]


@pytest.fixture
def root(tmp_path):
    """CUHK01-like (2 ids), a manifest (3 ids), Market-like target."""
    for i, path in enumerate(
        [f'campus/{p:04d}{s:03d}.png' for p in (4, 9) for s in (1, 2, 3, 4)]
        + [f'own/{i}.png' for i in range(3)]
        + [
            f'market/bounding_box_train/{p:04d}_c{c}s1_000451_03.png'
            for p in (2, 7)
            for c in (1, 6)
        ]
    ):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        # The content is the number of the image.
        cv2.imwrite(str(path), np.full((4, 2, 3), i, np.uint8))
    (tmp_path / 'own' / 'list.jsonl').write_text(
        '\n'.join(
            json.dumps(dict(path=f'{i}.png', person_id=i, camera_id=i))
            for i in range(3)
        )
    )
    return tmp_path


def cuhk01(root, **kwargs):
    return dict(type='CUHK01', data_root=str(root / 'campus'), **kwargs)


def own(root, **kwargs):
    file = str(root / 'own' / 'list.jsonl')
    return dict(type='ReIDManifest', ann_file=file, **kwargs)


def market(root, **kwargs):
    kwargs = dict(labelled=False) | kwargs
    return dict(type='Market1501', data_root=str(root / 'market'), **kwargs)


@pytest.fixture
def dataset(root):
    return DATASETS.build(
        ConfigDict(
            type='DomainDataset',
            source=[cuhk01(root), own(root, lazy_init=True)],
            target=market(root),
            pipeline=PIPELINE,
        )
    )


def test_indices_labels_and_pixels(dataset):
    source, target = dataset.domains.values()
    assert (source.name, source.number) == ('source', 0)
    assert (target.name, target.number) == ('target', 1)
    assert (source.span, target.span) == (range(0, 11), range(11, 15))
    assert (source.labelled, target.labelled) == (True, False)
    assert (source.num_identities, target.num_identities) == (5, 0)
    assert (source.num_cameras, target.num_cameras) == (5, 6)
    assert (len(dataset), len(source), len(target)) == (15, 11, 4)
    samples = []
    for i, item in enumerate(dataset):
        assert (item['inputs'] == i).all()
        samples.append(item['data_samples'])
        info = dataset.get_data_info(i)
        assert {k: info[k] for k in info if k != 'img_path'} == {
            k: v for k, v in samples[i].items() if k != 'skipped_idx'
        }
    assert [s['domain'] for s in samples] == [0] * 11 + [1] * 4
    assert [s['sample_idx'] for s in samples] == [*range(11), *range(4)]
    # Identities and cameras of the two sources are kept apart ...
    assert [s['person_id'] for s in samples[:11]] == [0] * 4 + [1] * 4 + [
        2,
        3,
        4,
    ]
    assert [s['camera_id'] for s in samples[:11]] == [0, 0, 1, 1] * 2 + [
        2,
        3,
        4,
    ]
    # ... and the target has its own cameras, and no identity.
    assert [s['person_id'] for s in samples[11:]] == [-1] * 4
    assert [s['camera_id'] for s in samples[11:]] == [0, 5, 0, 5]
    assert dataset[-1]['data_samples'] == samples[-1]
    with pytest.raises(IndexError):
        dataset[15]


def test_metainfo_is_plain(dataset):
    assert dataset.metainfo == dict(
        domains=dict(
            source=dict(
                datasets=['cuhk01', 'manifest'],
                num_images=11,
                num_identities=5,
                num_cameras=5,
            ),
            target=dict(
                datasets=['market1501'],
                num_images=4,
                num_identities=0,
                num_cameras=6,
            ),
        )
    )
    assert pickle.loads(pickle.dumps(dataset.metainfo)) == dataset.metainfo
    assert len(pickle.loads(pickle.dumps(dataset))) == 15  # for workers


@pytest.mark.parametrize('name', ['source', 'target', 'mine'])
def test_one_domain_of_any_name(root, name):
    dataset = DomainDataset(
        **{name: cuhk01(root, pipeline=PIPELINE)}, other=None
    )
    assert list(dataset.domains) == [name]
    assert dataset.domains[name].span == range(8)
    assert dataset[7]['data_samples']['domain'] == 0


def test_the_order_of_the_config_does_not_matter(root):
    parts = dict(b=[own(root)], a=cuhk01(root, labelled=False), c=market(root))
    dataset = DomainDataset(PIPELINE, **parts)
    assert [d.span for d in dataset.domains.values()] == [
        range(8),
        range(8, 11),
        range(11, 15),
    ]
    for number, (name, domain) in enumerate(dataset.domains.items()):
        assert (domain.name, domain.number) == (name, number)
        for index in domain.span:
            assert dataset.get_data_info(index)['domain'] == number


def test_labels_and_images_of_a_domain(dataset):
    assert dataset.person_ids('source').tolist() == [0] * 4 + [1] * 4 + [
        2,
        3,
        4,
    ]
    assert dataset.person_ids('target').tolist() == [-1] * 4
    assert dataset.camera_ids('target').tolist() == [0, 5, 0, 5]
    images = dataset.images('target')
    assert len(images) == 4
    for index in range(4):
        item, whole = images[index], dataset[11 + index]
        assert (item['inputs'] == whole['inputs']).all()
        assert item['data_samples'] == whole['data_samples']
        assert images.get_data_info(index) == dataset.get_data_info(11 + index)


def test_labelled_reads_the_identities_again(dataset):
    labelled = dataset.labelled('target')
    assert labelled.person_ids('target').tolist() == [0, 0, 1, 1]
    assert [labelled.get_data_info(i)['img_path'] for i in range(4)] == [
        dataset.get_data_info(i)['img_path'] for i in range(11, 15)
    ]
    # The training's own stay erased.
    assert dataset.person_ids('target').tolist() == [-1] * 4


def test_own_pipeline_wins(root):
    own_pipeline = [dict(type='LoadReIDImage')]
    dataset = DomainDataset(
        PIPELINE,
        source=cuhk01(root),
        target=market(root, pipeline=own_pipeline),
    )
    assert [
        len(domain.datasets[0].pipeline.transforms)
        for domain in dataset.domains.values()
    ] == [2, 1]


@pytest.mark.filterwarnings('ignore:Skipped')
def test_skipped_index_counts_inside_the_domain(root):
    (root / 'own' / '1.png').write_bytes(b'')
    targets = root / 'market' / 'bounding_box_train'
    sorted(targets.iterdir())[2].write_bytes(b'')
    dataset = DomainDataset(
        PIPELINE,
        source=[cuhk01(root), own(root, on_error='skip')],
        target=market(root, on_error='skip'),
    )
    samples = dataset[9]['data_samples']
    assert (samples['skipped_idx'], samples['sample_idx']) == (9, 10)
    assert samples['person_id'] == 4
    samples = dataset[13]['data_samples']
    assert (samples['skipped_idx'], samples['sample_idx']) == (2, 3)
    assert dataset[8]['data_samples']['skipped_idx'] == -1


@pytest.mark.parametrize(
    'domains, message',
    [
        (
            lambda root: dict(
                source=[cuhk01(root), own(root, labelled=False)]
            ),
            "domain 'source' must all .*cuhk01 and manifest differ",
        ),
        (
            lambda root: dict(source=cuhk01(root, split='gallery')),
            "cuhk01 in the domain 'source' .*split='gallery'",
        ),
        (
            lambda root: dict(source=[]),
            "'source' must name at least one data set",
        ),
        (lambda root: dict(source=None), 'at least one domain'),
        (lambda root: {}, 'at least one domain'),
    ],
)
def test_domains_that_do_not_fit(root, domains, message):
    with pytest.raises(ValueError, match=message):
        DomainDataset(**domains(root))


def test_shared_images_are_refused(root):
    (root / 'link').symlink_to(root / 'campus')
    linked = cuhk01(root) | dict(data_root=str(root / 'link'))
    with pytest.raises(ValueError, match='both hold .*0004001.png'):
        DomainDataset(
            source=cuhk01(root), target=linked | dict(labelled=False)
        )
    with pytest.raises(ValueError, match='cuhk01 and cuhk01 both hold'):
        DomainDataset(source=[cuhk01(root), cuhk01(root)])
    # The same folder is fine as long as the images differ.
    file = root / 'own' / 'list.jsonl'
    lines = file.read_text().splitlines()
    file.write_text('\n'.join(lines[:2]))
    other = file.with_name('other.jsonl')
    other.write_text(lines[2])
    dataset = DomainDataset(
        source=own(root),
        target=own(root) | dict(ann_file=str(other), labelled=False),
    )
    assert len(dataset) == 3


def test_all_that_is_wrong_is_said_at_once(root, tmp_path):
    gone, absent = tmp_path / 'gone', tmp_path / 'absent.csv'
    with pytest.raises(InputError) as error:
        DomainDataset(
            source=[
                cuhk01(root) | dict(data_root=str(gone)),
                own(root) | dict(ann_file=str(absent)),
            ],
            target=own(root) | dict(split='nonsense', labelled=False),
        )
    message = str(error.value)
    assert message.startswith('3 data sets cannot be read:')
    for part in (str(gone), str(absent), 'nonsense'):
        assert part in message
    # One alone, as it is.
    with pytest.raises(FileNotFoundError, match='absent.csv'):
        DomainDataset(source=own(root) | dict(ann_file=str(absent)))

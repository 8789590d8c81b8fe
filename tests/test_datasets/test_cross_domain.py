import json
import pickle

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict

from mmreid.datasets import CrossDomainDataset
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
            type='CrossDomainDataset',
            source=[cuhk01(root), own(root, lazy_init=True)],
            target=market(root),
            pipeline=PIPELINE,
        )
    )


def test_indices_labels_and_pixels(dataset):
    assert dataset.domains == dict(source=range(0, 11), target=range(11, 15))
    assert (len(dataset), dataset.num_identities) == (15, 5)
    assert dataset.num_target_images == 4
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
        source_datasets=['cuhk01', 'manifest'],
        target_datasets=['market1501'],
        num_identities=5,
        num_target_images=4,
    )
    assert pickle.loads(pickle.dumps(dataset.metainfo)) == dataset.metainfo
    assert len(pickle.loads(pickle.dumps(dataset))) == 15  # for workers


def test_source_only(root):
    dataset = CrossDomainDataset(cuhk01(root, pipeline=PIPELINE))
    assert dataset.domains == dict(source=range(8))
    assert (dataset.num_identities, dataset.num_target_images) == (2, 0)
    assert dataset.metainfo['target_datasets'] == []


def test_own_pipeline_wins(root):
    own_pipeline = [dict(type='LoadReIDImage')]
    dataset = CrossDomainDataset(
        cuhk01(root), market(root, pipeline=own_pipeline), PIPELINE
    )
    assert [len(d.pipeline.transforms) for d in dataset.datasets] == [2, 1]


@pytest.mark.filterwarnings('ignore:Skipped')
def test_skipped_index_counts_inside_the_domain(root):
    (root / 'own' / '1.png').write_bytes(b'')
    targets = root / 'market' / 'bounding_box_train'
    sorted(targets.iterdir())[2].write_bytes(b'')
    dataset = CrossDomainDataset(
        [cuhk01(root), own(root, on_error='skip')],
        market(root, on_error='skip'),
        PIPELINE,
    )
    samples = dataset[9]['data_samples']
    assert (samples['skipped_idx'], samples['sample_idx']) == (9, 10)
    assert samples['person_id'] == 4
    samples = dataset[13]['data_samples']
    assert (samples['skipped_idx'], samples['sample_idx']) == (2, 3)
    assert dataset[8]['data_samples']['skipped_idx'] == -1


def test_labels_must_fit_the_roles(root):
    with pytest.raises(ValueError, match='target market1501.*labelled=False'):
        CrossDomainDataset(cuhk01(root), market(root, labelled=True))
    with pytest.raises(ValueError, match='source cuhk01.*labelled=False'):
        CrossDomainDataset(cuhk01(root, labelled=False))
    with pytest.raises(ValueError, match="source cuhk01.*split='gallery'"):
        CrossDomainDataset(cuhk01(root, split='gallery'))
    with pytest.raises(ValueError, match='at least one'):
        CrossDomainDataset([])


def test_shared_images_are_refused(root):
    (root / 'link').symlink_to(root / 'campus')
    linked = cuhk01(root) | dict(data_root=str(root / 'link'))
    with pytest.raises(ValueError, match='both hold .*0004001.png'):
        CrossDomainDataset(cuhk01(root), linked | dict(labelled=False))
    with pytest.raises(ValueError, match='cuhk01 and cuhk01 both hold'):
        CrossDomainDataset([cuhk01(root), cuhk01(root)])
    # The same folder is fine as long as the images differ.
    file = root / 'own' / 'list.jsonl'
    lines = file.read_text().splitlines()
    file.write_text('\n'.join(lines[:2]))
    other = file.with_name('other.jsonl')
    other.write_text(lines[2])
    dataset = CrossDomainDataset(
        own(root), own(root) | dict(ann_file=str(other), labelled=False)
    )
    assert len(dataset) == 3

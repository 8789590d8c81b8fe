import os

import cv2
import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed as dist

from mmreid.datasets import DomainDataset, ImageList, Market1501
from mmreid.engine import extract, fill_batch
from mmreid.registry import MODELS
from mmreid.utils import progress

PIPELINE = [dict(type='LoadReIDImage'), dict(type='PackReIDInputs')]


def model_of(tiny_config, **preprocessor):
    cfg = tiny_config().model
    cfg.data_preprocessor.update(preprocessor)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.backbone.bn1.running_var.fill_(0.5)
    return model


@torch.no_grad()
def slowly(model, paths, mean=120, std=60):
    """One image after the other."""
    model.eval()
    rows = []
    for path in paths:
        image = torch.from_numpy(cv2.imread(path)[..., ::-1].copy()).float()
        inputs = ((image - mean) / std).permute(2, 0, 1)[None]
        rows.append(model.extract_feat(inputs)[0])
    return torch.stack(rows)


@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize('batch_size', [4, 100])
def test_features_labels_and_paths(
    tiny_config, benchmark, batch_size, num_workers
):
    model = model_of(tiny_config).train()
    dataset = Market1501(f'{benchmark}/target', 'test', pipeline=PIPELINE)
    found = extract(
        model, dataset, batch_size=batch_size, num_workers=num_workers
    )
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert list(found.paths) == [info['img_path'] for info in infos]
    for name in ('person_id', 'camera_id'):
        labels = [info[name] for info in infos]
        assert getattr(found, name).tolist() == labels
    assert found.features.dtype == torch.float32
    assert not found.features.requires_grad
    # As it was, all of it.
    assert all(module.training for module in model.modules())
    torch.testing.assert_close(
        found.features, slowly(model, found.paths), rtol=1e-4, atol=1e-5
    )


def test_a_domain_is_normalised_as_in_training(tiny_config, benchmark):
    own = dict(source=dict(mean=[90] * 3, std=[30] * 3))
    model = model_of(tiny_config, domains=own)
    market = dict(type='Market1501', pipeline=PIPELINE)
    dataset = DomainDataset(
        source=dict(market, data_root=f'{benchmark}/source'),
        target=dict(market, data_root=f'{benchmark}/target', labelled=False),
    )
    for domain, numbers in dict(source=(90, 30), target=(120, 60)).items():
        found = extract(model, dataset.images(domain), domain)
        torch.testing.assert_close(
            found.features,
            slowly(model, found.paths, *numbers),
            rtol=1e-4,
            atol=1e-5,
        )
        # Of the target nobody is known.
        assert (found.person_id is None) == (domain == 'target')


def test_a_feature_does_not_depend_on_its_company(tiny_config, benchmark):
    model = model_of(tiny_config)
    dataset = Market1501(f'{benchmark}/target', 'test', pipeline=PIPELINE)
    paths = [dataset.get_data_info(i)['img_path'] for i in range(20)]
    whole = extract(model, ImageList(paths, PIPELINE), batch_size=8)
    # 13 images: the last batch has 5 of 8.
    some = [0, 19, 3, 7, 11, 2, 18, 5, 6, 4, 12, 13, 14]
    part = extract(
        model, ImageList([paths[i] for i in some], PIPELINE), batch_size=8
    )
    assert torch.equal(part.features, whole.features[some])
    assert part.person_id is None and part.camera_id is None


def test_fill_batch():
    batch = dict(
        inputs=torch.arange(3).view(3, 1, 1, 1),
        data_samples=dict(sample_idx=torch.arange(3)),
    )
    fill_batch(batch, 2)
    assert len(batch['inputs']) == 3
    fill_batch(batch, 5)
    assert batch['inputs'].flatten().tolist() == [0, 1, 2, 2, 2]
    assert batch['data_samples']['sample_idx'].tolist() == [0, 1, 2, 2, 2]


def test_no_image(tiny_config):
    with pytest.raises(ValueError, match='no image to extract'):
        extract(model_of(tiny_config), ImageList([], PIPELINE))


def test_features_that_are_not_finite(tiny_config, benchmark):
    model = model_of(tiny_config)
    with torch.no_grad():
        model.backbone.conv1.weight.fill_(float('nan'))
    dataset = Market1501(f'{benchmark}/target', pipeline=PIPELINE)
    path = dataset.get_data_info(0)['img_path']
    with pytest.raises(
        ValueError, match=f"21 of 21 images are not finite.*'{path}'"
    ):
        extract(model, dataset)


def test_mode_is_restored_after_an_error(tiny_config, tmp_path):
    model = model_of(tiny_config).train()
    path = str(tmp_path / 'a.png')
    with open(path, 'w') as file:
        file.write('no image')
    with pytest.raises(OSError, match='a.png'):
        extract(model, ImageList([path], PIPELINE))
    assert model.training


def test_long_work_shows_its_progress(
    tiny_config, benchmark, monkeypatch, capsys
):
    model = model_of(tiny_config)
    dataset = Market1501(f'{benchmark}/target', pipeline=PIPELINE)
    expected = extract(model, dataset, batch_size=4)
    assert capsys.readouterr().err == ''
    monkeypatch.setattr(progress, 'PATIENCE', 0)
    monkeypatch.setattr(progress, 'LINE_INTERVAL', 0)
    found = extract(model, dataset, batch_size=4)
    assert torch.equal(found.features, expected.features)
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 5
    assert shown[0].startswith('Features of 21 images: 16 %, 0:00:0')


def _extract_on(rank, model, images, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    found = extract(model, images, batch_size=4)
    torch.save(
        (found.features, found.person_id, list(found.paths)),
        f'{folder}/{rank}.pth',
    )
    dist.destroy_process_group()


def test_two_processes_share_the_images(tiny_config, benchmark, tmp_path):
    model = model_of(tiny_config)
    # 21 images: one of the shares repeats the first.
    images = Market1501(f'{benchmark}/target', pipeline=PIPELINE)
    whole = extract(model, images, batch_size=4)
    mp.start_processes(
        _extract_on,
        (model, images, str(tmp_path)),
        2,
        start_method='fork',
    )
    for rank in range(2):
        features, person_id, paths = torch.load(tmp_path / f'{rank}.pth')
        assert torch.equal(features, whole.features)
        assert torch.equal(person_id, whole.person_id)
        assert paths == list(whole.paths)


def test_arrays_of_images(tiny_config, benchmark):
    model = model_of(tiny_config)
    folder = f'{benchmark}/target/bounding_box_train'
    paths = [f'{folder}/{name}' for name in sorted(os.listdir(folder))][:3]
    found = extract(
        model, ImageList([cv2.imread(path) for path in paths], PIPELINE)
    )
    expected = extract(model, ImageList(paths, PIPELINE))
    assert torch.equal(found.features, expected.features)
    assert list(found.paths) == ['', '', '']


@pytest.mark.parametrize(
    'array',
    [
        np.zeros((4, 2), np.uint8),
        np.zeros((4, 2, 3), np.float32),
        np.zeros((0, 2, 3), np.uint8),
        np.zeros((4, 2, 4), np.uint8),
    ],
    ids=lambda a: f'{a.dtype}{a.shape}',
)
def test_arrays_that_are_no_images(array):
    with pytest.raises(ValueError, match=r'must be uint8 \(H, W, 3\)'):
        ImageList([array], PIPELINE)

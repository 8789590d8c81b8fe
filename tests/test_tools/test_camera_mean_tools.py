"""Camera means in the tools that extract and score."""

import json
import os.path as osp
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_mar
import torch
from mmengine.runner import Runner

from mmreid.engine.hooks.camera_mean_hook import training_images
from mmreid.evaluation import (
    Evaluation,
    ReIDMetric,
    load_features,
    load_training_features,
)
from mmreid.registry import MODELS
from mmreid.synthetic import write_viper

TOOLS = osp.join(tiny_mar.ROOT, 'tools')


@pytest.fixture
def files(tiny_config, benchmark, tmp_path):
    """Paths of a config whose source is lost, and of a checkpoint."""
    cfg = tiny_config()
    torch.manual_seed(0)
    checkpoint = str(tmp_path / 'start.pth')
    state = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=state), checkpoint)
    cfg.train_dataloader.dataset.source.data_root = 'lost'
    cfg.val_dataloader = cfg.test_dataloader.copy()
    cfg.val_dataloader.dataset = dict(
        cfg.test_dataloader.dataset,
        data_root=f'{benchmark}/source',
        split='val',
        val_identities=2,
    )
    cfg.update(val_evaluator=cfg.test_evaluator, val_cfg=dict())
    # An earlier version's has no such hook.
    del cfg.default_hooks['camera_mean']
    cfg.dump(str(tmp_path / 'tiny.py'))
    return str(tmp_path / 'tiny.py'), checkpoint


@pytest.fixture
def score(files, run_main, tmp_path):
    """Run tools/test.py: its metrics and the features it saved."""

    def run(*options):
        out, saved = tmp_path / 'out.json', str(tmp_path / 'f.npz')
        arguments = ['--work-dir', tmp_path / 'w', '--out', out]
        arguments += ['--save-features', saved, *options]
        assert run_main(f'{TOOLS}/test.py', *files, *arguments) == 0
        return json.loads(out.read_text()), saved

    return run


@pytest.mark.parametrize(
    'options', [[], ['--flip'], ['--rerank', '--metric', 'euclidean']], ids=str
)
def test_scored_directly_and_from_the_file(
    score, run_main, tmp_path, capsys, monkeypatch, options
):
    logged = []
    monkeypatch.setattr(
        'mmreid.evaluation.metrics.reid_metric.print_log',
        lambda message, **kwargs: logged.append(message),
    )
    metrics, saved = score('--camera-mean', *options)
    title = 'camera means of 21 training images subtracted'
    assert len(logged) == 1 and title in logged[0].splitlines()[0]
    again = tmp_path / 'again.json'
    same = [option for option in options if option != '--flip']
    arguments = [saved, '--camera-mean', '--out', again, *same]
    assert run_main('mmreid.evaluation', *arguments) == 0
    assert title in capsys.readouterr().out
    found = json.loads(again.read_text())
    made_by = metrics.pop('provenance')
    assert made_by['config']['test_evaluator']['camera_mean'] == 'train'
    del found['provenance']
    # To the last digit.
    assert metrics == found


def test_training_images_are_the_targets(score, files, benchmark, tmp_path):
    _, saved = score('--camera-mean')
    training = load_training_features(saved)
    folder = f'{benchmark}/target/bounding_box_train'
    assert {osp.dirname(path) for path in training.paths} == {folder}
    cameras = [int(path.split('_c')[1][0]) for path in training.paths]
    assert (training.camera_id + 1).tolist() == cameras
    # The features are those of the same test: mirrored, too.
    mirrored = load_training_features(score('--camera-mean', '--flip')[1])
    assert mirrored.paths == training.paths
    assert not torch.allclose(mirrored.features, training.features)
    metrics, saved = score('--camera-mean', '--val')
    inside = load_training_features(saved)
    # 6 persons, two of them in the validation.
    assert len(inside) == 16
    persons = {osp.basename(path)[:4] for path in inside.paths}
    assert len(persons) == 4
    del metrics['provenance']
    sides = load_features(saved)
    assert not persons & {f'{i:04d}' for i in sides[0].person_id.tolist()}
    assert metrics == Evaluation(camera_mean='train')(*sides, inside)
    # As a training validates.
    cfg = tiny_mar.Config.fromfile(files[0])
    cfg.val_evaluator.camera_mean = 'train'
    cfg.default_hooks.camera_mean = dict(type='CameraMeanHook')
    cfg.update(
        load_from=files[1],
        work_dir=str(tmp_path / 'v'),
        experiment_name='validated',
    )
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        cfg.pop(key)
    assert Runner.from_cfg(cfg).val() == metrics


def test_saved_features_are_those_without_means(score):
    metrics, saved = score('--camera-mean', 'gallery')
    del metrics['provenance']
    with np.load(saved) as file:
        gallery_means = dict(file)
    assert not [name for name in gallery_means if name.startswith('train')]
    sides = load_features(saved)
    assert metrics == Evaluation(camera_mean='gallery')(*sides)
    plain, saved = score()
    with np.load(saved) as file:
        assert {*file} == {*gallery_means}
        for name, array in gallery_means.items():
            assert np.array_equal(file[name], array)
    assert plain['mAP'] != metrics['mAP']


def test_what_has_no_training_images(files, benchmark):
    cfg = tiny_mar.Config.fromfile(files[0])
    config = cfg.test_dataloader.dataset
    with pytest.raises(ValueError, match='ConcatDataset, has no training'):
        training_images(dict(type='ConcatDataset', datasets=[config]))
    found = training_images(dict(config, multi_query=True))
    assert not found.labelled and len(found) == 21
    assert 'person_id' not in found.get_data_info(0)
    metric = ReIDMetric(camera_mean='train')
    rows = torch.ones(2, 5).long()
    rows[1, 4] = 0
    with pytest.raises(ValueError, match="type='CameraMeanHook'"):
        metric.compute_metrics([(torch.ones(2, 3), rows)])


@pytest.fixture
def crops(benchmark, tmp_path):
    """A folder with a folder for each camera."""
    source = f'{benchmark}/target/bounding_box_train'
    root = tmp_path / 'crops'
    for path in sorted(Path(source).iterdir()):
        folder = root / f'cam{path.name.split("_c")[1][0]}'
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    return root


@pytest.fixture
def extract(files, run_main, tmp_path, capsys):
    """Run tools/extract.py: its arrays, or the line of its error."""

    def run(*arguments):
        out = tmp_path / 'features.npz'
        arguments = [*arguments, '--out', out, '--device', 'cpu']
        status = run_main(f'{TOOLS}/extract.py', *files, *arguments)
        if status:
            return capsys.readouterr().err.splitlines()[-1]
        with np.load(out) as file:
            return dict(file)

    return run


@pytest.mark.parametrize('how', ['folders', 'pattern'])
def test_extract(extract, crops, benchmark, how):
    given = [crops, '--camera-mean']
    if how == 'pattern':
        given[0] = f'{benchmark}/target/bounding_box_train'
        given += ['--camera-pattern', r'_(?P<camera>c\d)s']
    plain, found = extract(given[0]), extract(*given)
    assert plain['paths'].tolist() == found['paths'].tolist()
    cameras = found['cameras']
    shown = [path.split('_c')[1][0] for path in found['paths']]
    start = 'cam' if how == 'folders' else 'c'
    assert cameras.tolist() == [start + camera for camera in shown]
    features = plain['features'].astype(np.float64)
    features /= np.sqrt((features**2).sum(1, keepdims=True))
    for camera in set(cameras):
        features[cameras == camera] -= features[cameras == camera].mean(0)
    np.testing.assert_allclose(found['features'], features, atol=1e-6)
    assert found['features'].dtype == np.float32


def test_extract_without_cameras(extract, crops, benchmark):
    flat = f'{benchmark}/target/bounding_box_train'
    for message, arguments in {
        'no camera is known of the images in': [flat, '--camera-mean'],
        '--camera-mean needs one folder': [crops, flat, '--camera-mean'],
        '--camera-pattern needs --camera-mean': [
            *(flat, '--camera-pattern', 'c(?P<camera>x)')
        ],
        'gives no camera for 21 of the 21 images': [
            *(flat, '--camera-mean', '--camera-pattern', 'c(?P<camera>x)')
        ],
    }.items():
        assert message in extract(*arguments)
    alone = crops / 'cam9'
    alone.mkdir()
    shutil.copy(next((crops / 'cam1').iterdir()), alone / '1.png')
    error = extract(crops, '--camera-mean')
    assert "camera 'cam9' has one image" in error
    shutil.copy(alone / '1.png', crops)
    assert 'Move them into their camera' in extract(crops, '--camera-mean')


def test_random_splits(run_main, tmp_path, capsys):
    write_viper(str(tmp_path), num_ids=15, size=(16, 32))
    cfg = tiny_mar.tiny_config(str(tmp_path), 'not_here')
    target = dict(type='VIPeR', data_root=f'{tmp_path}/VIPeR')
    cfg.train_dataloader.dataset.target.update(target)
    cfg.test_dataloader.dataset.update(target)
    torch.manual_seed(0)
    checkpoint = str(tmp_path / 'start.pth')
    state = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=state), checkpoint)
    cfg.dump(str(tmp_path / 'tiny.py'))
    given = [str(tmp_path / 'tiny.py'), checkpoint]
    folder = tmp_path / 'w'
    arguments = ['--no-adapt', '--splits', 1, '--work-dir', folder]
    arguments += ['--cfg-options', 'test_evaluator.camera_mean=train']
    arguments += [f'test_evaluator.save_features={tmp_path}/f.npz']
    assert run_main(f'{TOOLS}/run_splits.py', *given, *arguments) == 0
    assert 'camera means (train) subtracted' in capsys.readouterr().out
    results = json.loads((folder / 'results.json').read_text())
    assert results['camera_mean'] == 'train'
    # The split's training half, and no image of its test.
    split = json.loads((folder / 'splits.json').read_text())['splits'][0]
    training = load_training_features(f'{tmp_path}/f.npz')
    assert {'/'.join(p.split('/')[-2:]) for p in training.paths} == set(
        split['train']
    )
    # Without a split, training images would be those of the test.
    with pytest.raises(ValueError, match='of VIPeR are those of the test'):
        training_images(cfg.test_dataloader.dataset)

import json
import os.path as osp
import runpy

import pytest
import tiny_mar
import torch

PATH = osp.join(tiny_mar.ROOT, 'tools/analysis_tools/cluster_eps.py')
TOOL = runpy.run_path(PATH, run_name='cluster_eps')


def test_measure():
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 2, -1])
    cameras = torch.tensor([3, 5, 3, 3, 3, 4, 3, 5])
    assert TOOL['measure'](labels, cameras) == dict(
        clusters=3, several_cameras=2, clustered=87.5
    )
    assert TOOL['measure'](labels, None)['several_cameras'] is None
    none = TOOL['measure'](torch.full((4,), -1), cameras[:4])
    assert none == dict(clusters=0, several_cameras=0, clustered=0)


def row(eps, clusters, several):
    return dict(eps=eps, clusters=clusters, several_cameras=several)


@pytest.mark.parametrize(
    'rows, best',
    [
        # More clusters of one camera do not count.
        ([row(0.3, 9, 2), row(0.4, 7, 5), row(0.5, 5, 4)], 0.4),
        ([row(0.5, 7, 5), row(0.4, 7, 5)], 0.4),
        ([row(0.3, 4, 0), row(0.4, 7, 0), row(0.5, 5, 0)], 0.4),
        ([row(0.3, 4, None), row(0.4, 3, None)], 0.3),
    ],
    ids=['several-cameras', 'equals', 'one-camera', 'unknown-cameras'],
)
def test_choose(rows, best):
    assert TOOL['choose'](rows)['eps'] == best


@pytest.fixture
def config(tiny_config, tmp_path):
    def config(**changes):
        cfg = tiny_config()
        cfg.custom_imports = dict(imports=['tiny_mar'])
        del cfg.default_hooks['pair_mining']
        cfg.train_dataloader.dataset.source = None
        cfg.model = dict(
            type='ClusterContrast',
            data_preprocessor=cfg.model.data_preprocessor,
            backbone=cfg.model.backbone,
            clusterer=dict(
                type='JaccardDBSCAN', eps=0.6, min_samples=2, k1=4, k2=2
            ),
        )
        cfg.merge_from_dict(changes)
        path = str(tmp_path / 'tiny.py')
        cfg.dump(path)
        return path

    return config


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'model.camera_mean': True},
        {'model.clusterer.type': 'SelfPacedDBSCAN'},
    ],
    ids=['plain', 'camera-mean', 'self-paced'],
)
def test_table(config, run_main, capsys, tmp_path, changes):
    out = str(tmp_path / 'table.json')
    args = ['none', '--eps', '0.7', '0.5', '--quality', '--out', out]
    assert run_main(PATH, config(**changes), *args) == 0
    printed = capsys.readouterr().out
    assert '21 images, eps of the config: 0.6' in printed
    with open(out) as file:
        rows = json.load(file)
    assert [row['eps'] for row in rows] == [0.7, 0.5]
    for found in rows:
        assert 0 < found['clusters'] <= 10
        assert found['several_cameras'] <= found['clusters']
        assert 0 < found['pair_f1'] <= 100
    best = TOOL['choose'](rows)['eps']
    assert f'Most clusters: model.clusterer.eps={best:g}' in printed


@pytest.mark.parametrize(
    'args, message',
    [
        (['--eps', '1.2'], '--eps must be in (0, 1), but is 1.2'),
        (
            ['--cfg-options', 'model.clusterer.min_samples=21'],
            'no cluster with any eps',
        ),
        (
            ['--cfg-options', 'train_dataloader.dataset.target=None'],
            'has no target',
        ),
    ],
    ids=['eps', 'no-cluster', 'no-target'],
)
def test_errors(config, run_main, capsys, args, message):
    assert run_main(PATH, config(), 'none', *args) == 1
    assert message in capsys.readouterr().err


def test_a_method_without_eps(tiny_config, run_main, capsys, tmp_path):
    cfg = tiny_config()
    cfg.dump(str(tmp_path / 'mar.py'))
    assert run_main(PATH, str(tmp_path / 'mar.py'), 'none') == 1
    error = capsys.readouterr().err
    assert 'has no eps: name a config of a method' in error

"""The code of the pages for developers runs, as a reader would run it."""

import os
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_mar
import torch
from mmengine.config import Config

from mmreid.registry import DATASETS, MODELS
from mmreid.utils import read_config
from mmreid.utils.package_files import locate_config

DOCS = Path(tiny_mar.ROOT, 'docs')


def blocks_of(page):
    """The Python blocks of a page, in order."""
    text = (DOCS / page).read_text()
    return re.findall(r'```python\n(.*?)```', text, re.S)


@pytest.fixture
def folder(benchmark, tmp_path, monkeypatch):
    """A directory with a reader's data and the configs."""
    os.symlink(benchmark, tmp_path / 'data')
    os.symlink(tiny_mar.CONFIGS, tmp_path / 'mmreid_configs')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def registries(monkeypatch):
    """What a page registers is forgotten after it."""
    for registry in (MODELS, DATASETS):
        # MMEngine does this at the first use, and not again.
        registry.import_from_location()
        known = dict(registry.module_dict)
        monkeypatch.setattr(registry, '_module_dict', known)
    yield
    sys.modules.pop('my_method', None)


@pytest.mark.parametrize('page', ['add_a_backbone.md', 'add_a_dataset.md'])
def test_blocks_run_in_order(page, folder):
    blocks = blocks_of(page)
    assert len(blocks) >= 3
    namespace = {}
    for block in blocks:
        exec(compile(block, page, 'exec'), namespace)


def test_vit_of_the_backbone_page(folder):
    pytest.importorskip('timm')
    namespace = {}
    exec(blocks_of('add_a_backbone.md')[0], namespace)
    model = MODELS.build(
        dict(type='Baseline', num_identities=9, backbone=namespace['vit'])
    )
    assert model.feature_length == 384


def test_the_evaluation_page(folder):
    """The first block sketches the file that the others read."""
    sketch, *blocks = blocks_of('evaluation.md')
    # 24 images: re-ranking looks at the 20 nearest.
    side = dict(
        features=np.random.default_rng(0).normal(size=(12, 3)),
        ids=np.repeat(np.arange(6), 2),
        cams=np.tile([0, 1], 6),
    )
    arrays = {
        f'{name}_{key}': value
        for name in ('query', 'gallery')
        for key, value in side.items()
    }
    assert set(re.findall(r'(\w+)=\.\.\.', sketch)) == set(arrays)
    training = dict(train_features=side['features'], train_cams=side['cams'])
    np.savez('features.npz', **arrays, **training)
    features, person_id, camera_id = map(torch.from_numpy, side.values())
    namespace = dict(
        features=features,
        person_id=person_id,
        camera_id=camera_id,
        paths=[f'{i}.jpg' for i in range(12)],
    )
    for block in blocks:
        exec(compile(block, 'evaluation.md', 'exec'), namespace)


def test_the_config_page(folder):
    """It shows what is in the config, and its variants are what it says."""
    bases, stages, reading, variant, adam, size, row = blocks_of('config.md')
    main = 'mmreid::mar/mar_msmt_market.py'
    assert bases in Path(locate_config(main)).read_text()
    namespace = {}
    exec(stages, namespace)
    exec(reading, namespace)
    shown, cfg = namespace['train_cfg'], namespace['cfg']
    assert shown['order'] == cfg.train_cfg.order
    for name, stage in shown['stages'].items():
        for key in ('batch_size', 'max_epochs'):
            assert stage[key] == cfg.train_cfg.stages[name][key]
    for block in (variant, adam, size):
        name = re.match(r'# (\w+\.py)\n', block)[1]
        (folder / name).write_text(block)
    changed = read_config('my_variant.py')
    assert changed.model.miner == dict(cfg.model.miner, ratio=0.01)
    for loader in (
        changed.train_dataloader.dataset.target,
        changed.test_dataloader.dataset,
    ):
        assert loader.data_root == '/disk/market1501'
    stage = read_config('my_adam.py').train_cfg.stages.main
    assert stage.optim_wrapper == dict(optimizer=dict(type='Adam', lr=2e-4))
    assert stage.max_epochs == cfg.train_cfg.stages.main.max_epochs
    changed = read_config('my_size.py')
    for part in ('train', 'test'):
        pipeline = changed[f'{part}_dataloader'].dataset.pipeline
        assert pipeline[1].scale == (128, 256)
    assert len(changed.visualizer.vis_backends) == 2
    assert 'val_dataloader' not in changed
    exec(row, namespace)
    demo = Path(locate_config('mmreid::mar/mar_demo.py'))
    table = demo.with_name('table.py')
    shown = namespace['rows']['cluster-contrast']
    assert runpy.run_path(str(table))['rows']['cluster-contrast'] == shown


def test_a_method(folder, monkeypatch):
    """Written to the files that the page names, and trained by the tool."""
    method, config = blocks_of('add_a_method.md')
    for block in (method, config):
        name = re.match(r'# (\w+\.py)\n', block)[1]
        (folder / name).write_text(block)
    assert Config.fromfile('my_config.py').model.type == 'MyClusters'
    tool = os.path.join(tiny_mar.ROOT, 'tools', 'train.py')
    for arguments in ([], ['--resume']):
        monkeypatch.setattr(sys, 'argv', [tool, 'my_config.py', *arguments])
        runpy.run_path(tool, run_name='__main__')
    work_dir = folder / 'work_dirs' / 'my_config'
    assert {'stage_cluster.pth', 'epoch_2.pth'} <= set(os.listdir(work_dir))


def anchors(page):
    """Those that GitHub and MyST give the headings."""
    headings = re.findall(r'^#+ (.*)$', page.read_text(), re.MULTILINE)
    return {
        re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
        for heading in headings
    }


def test_links_between_pages():
    root = DOCS.parent
    for page in [
        *DOCS.rglob('*.md'),
        *root.glob('*.md'),
        *root.glob('configs/*/*.md'),
        *root.glob('benchmarks/results/*.md'),
    ]:
        for link in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
            path, _, anchor = link.partition('#')
            if not path.startswith('http'):
                target = page.parent / path if path else page
                assert target.exists(), (page, link)
                assert not anchor or anchor in anchors(target), (page, link)


def test_configs_that_pages_name(folder):
    """Those of the package are there, and what inherits them can be read."""
    found = set()
    for page in [*DOCS.rglob('*.md'), DOCS.parent / 'README.md']:
        found |= set(re.findall(r'mmreid::[\w/-]+\.py', page.read_text()))
    found.remove('mmreid::mar/NAME.py')
    assert len(found) >= 2
    for path in found:
        assert os.path.isfile(locate_config(path))
    *_, own = blocks_of('own_cameras.md')
    (folder / 'own.py').write_text(own)
    cfg = read_config('own.py')
    assert cfg.train_dataloader.dataset.source.ann_file == 'people.csv'
    assert cfg.train_dataloader.dataset.target.type == 'ReIDFolder'


def test_every_tool_is_listed():
    root = DOCS.parent / 'tools'
    named = re.findall(r'`(\w+)`', (DOCS / 'tools.md').read_text())
    assert {path.stem for path in root.rglob('*.py')} <= set(named)

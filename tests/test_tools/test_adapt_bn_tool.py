"""The batch norms of a checkpoint on images alone, without a source."""

import os.path as osp

import pytest
import tiny_mar
import torch

from mmreid.apis import adapt_bn
from mmreid.registry import DATASETS, MODELS

TOOL = osp.join(tiny_mar.ROOT, 'tools/analysis_tools/adapt_bn.py')


@pytest.fixture
def given(tiny_config, tmp_path):
    """Config and checkpoint, and what the target's images make of it."""
    cfg = tiny_config()
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    start = str(tmp_path / 'start.pth')
    torch.save(dict(state_dict=model.state_dict()), start)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    adapt_bn(model, dataset.images('target'), batch_size=8)
    expected = {k: v.clone() for k, v in model.state_dict().items()}
    cfg.train_dataloader.dataset.source.data_root = 'lost'
    return cfg, start, expected


@pytest.mark.parametrize('how', ['target', '--images'])
def test_no_source_is_read(given, run_main, benchmark, tmp_path, how):
    cfg, start, expected = given
    images = []
    if how == '--images':
        cfg.train_dataloader.dataset.pop('target')
        folder = f'{benchmark}/target/bounding_box_train'
        images = ['--images', folder]
    file, out = str(tmp_path / 'tiny.py'), str(tmp_path / 'out.pth')
    cfg.dump(file)
    arguments = [file, start, out, '--batch-size', 8, *images]
    assert run_main(TOOL, *arguments) == 0
    state = torch.load(out)['state_dict']
    torch.testing.assert_close(
        dict(state), expected, rtol=0, atol=0, equal_nan=True
    )


def test_nothing_to_read(given, run_main, tmp_path, capsys):
    cfg, start, _ = given
    cfg.train_dataloader.dataset.pop('target')
    file = str(tmp_path / 'tiny.py')
    cfg.dump(file)
    assert run_main(TOOL, file, start, 'out.pth') == 1
    assert "tiny.py' has no target: give the images by --images." in (
        capsys.readouterr().err
    )
    arguments = [file, start, 'out.pth', '--images', str(tmp_path / 'no')]
    assert run_main(TOOL, *arguments) == 1
    assert "no' is neither a file nor a folder" in capsys.readouterr().err

"""The examples of the docstrings run, and print what they say."""

import doctest
import importlib
import os
import pkgutil

import pytest
import torch

import mmreid
from mmreid.registry import MODELS


def modules_with_examples():
    """Names of the modules whose source has a prompt, not imported yet."""
    for module in pkgutil.walk_packages(mmreid.__path__, 'mmreid.'):
        spec = module.module_finder.find_spec(module.name)
        if '>>> ' in spec.loader.get_source(module.name):
            yield module.name


@pytest.fixture
def folder(tiny_config, benchmark, tmp_path, monkeypatch):
    """A directory with what examples read, in which they write."""
    cfg = tiny_config()
    cfg.dump(str(tmp_path / 'config.py'))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.save(
        dict(state_dict=model.state_dict()), tmp_path / 'stage_main.pth'
    )
    os.symlink(benchmark, tmp_path / 'data')
    os.symlink('data/target/bounding_box_test', tmp_path / 'crops')
    query = sorted(os.listdir(tmp_path / 'data/target/query'))
    os.symlink(f'data/target/query/{query[0]}', tmp_path / 'person.jpg')
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize('name', modules_with_examples())
def test_examples(name, folder):
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted
    assert not results.failed


def test_there_are_examples():
    assert len([*modules_with_examples()]) >= 10

"""A config is tried before it is trained."""

import os

import pytest
import tiny_mar
import tiny_tj_aidl
import torch

from mmreid.apis import dry_run
from mmreid.errors import InputError
from mmreid.models import MAR


@pytest.mark.parametrize('tiny', [tiny_mar, tiny_tj_aidl])
def test_tries_every_stage_and_leaves_nothing(benchmark, tmp_path, tiny):
    cfg = tiny.tiny_config(benchmark, str(tmp_path / 'run'))
    before, files = cfg.to_dict(), os.listdir(tmp_path)
    lines = dry_run(cfg).splitlines()
    assert [line.split("'")[1] for line in lines] == [*cfg.train_cfg.order]
    assert cfg.to_dict() == before
    assert os.listdir(tmp_path) == files


def test_says_how_long_the_training_is(tiny_config):
    lines = dry_run(tiny_config()).splitlines()
    assert "'pretrain': 6 iterations of 0." in lines[0]
    assert "'main': 9 iterations of 0." in lines[1]


def test_tries_the_mining_too(tiny_config, monkeypatch):
    mined = []
    monkeypatch.setattr(MAR, 'mine', lambda self, on: mined.append(on))
    dry_run(tiny_config())
    assert mined == [False, True] * 2


def test_what_a_later_stage_would_end_in(tiny_config):
    cfg = tiny_config()
    main = cfg.train_cfg.stages.main
    main.optim_wrapper = dict(optimizer=dict(type='SGD', lr=1e30))
    with pytest.raises(InputError, match="loss is (nan|inf).*stage 'main'"):
        dry_run(cfg)


def test_a_test_set_that_cannot_be_read(tiny_config, tmp_path):
    cfg = tiny_config()
    cfg.test_dataloader.dataset.data_root = str(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match='nowhere'):
        dry_run(cfg)


def test_the_trial_is_of_the_whole_size(tiny_config, monkeypatch):
    sizes = []
    prepare = MAR.prepare_stage

    def note(self, stage, extract):
        if stage == 'main':
            source, target = extract('source'), extract('target')
            assert source.person_id.unique().tolist() == [*range(6)]
            assert target.person_id is None
            sizes.append((len(target), len(target.features.unique(dim=0))))
            assert target.features.isfinite().all()
            assert torch.equal(target.features, extract('target').features)
        prepare(self, stage, extract)

    monkeypatch.setattr(MAR, 'prepare_stage', note)
    monkeypatch.setattr('mmreid.engine.runner.trial_loop.NUM_IMAGES', 5)
    # Which reads the features of both.
    dry_run(tiny_config(model__head__scale='auto'))
    assert sizes == [(21, 21)]

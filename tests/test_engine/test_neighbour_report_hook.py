import json

import pytest
import tiny_mar
import torch
from tiny_mar import BOUNDARY, END, Killed, train
from toy_method import toy_config

from mmreid.engine.runner import staged_train_loop
from mmreid.evaluation import neighbour_report

OFF = dict(default_hooks__neighbour_report__domain=None)


def written(runner):
    with open(f'{runner.work_dir}/neighbours.json') as file:
        return json.load(file)


def history(runner):
    """All scalars of the last stage but the times."""
    return {
        key: torch.as_tensor(buffer.data[0])
        for key, buffer in runner.message_hub.log_scalars.items()
        if 'time' not in key
    }


def clusters(tiny_config, work_dir, workers, **changes):
    """``toy_method`` on the tiny target: two epochs of three iterations."""
    cfg = toy_config(tiny_config(work_dir, **changes))
    cfg.train_dataloader.num_workers = workers
    cfg.train_cfg.stages.cluster.update(epoch_length=3, max_epochs=2)
    return cfg


@pytest.fixture
def extractions(monkeypatch):
    """Domain of each extraction."""
    done, extract = [], staged_train_loop.extract

    def counting(model, images, domain, **kwargs):
        done.append(domain)
        return extract(model, images, domain, **kwargs)

    monkeypatch.setattr(staged_train_loop, 'extract', counting)
    return done


def test_before_and_after(tiny_config, extractions, tmp_path):
    runner = train(tiny_config(log_level='INFO'))
    begin, end = written(runner)
    assert begin['when'] == "'main' begins" and begin['iteration'] == BOUNDARY
    assert end['when'] == 'end' and end['iteration'] == END
    # That of the begin is the one that MAR makes anyway.
    assert extractions == ['target', 'target']
    assert 'mined_positives' not in begin and end['mined_positives'] > 0

    algorithm = runner.model
    images = runner.train_loop.extract('target')
    expected = neighbour_report(
        images,
        agreement=lambda i, j: algorithm.pair_agreement(images.features, i, j),
    )
    assert {key: end[key] for key in expected} == expected
    assert len(expected) == 6 and begin['agreement'] != end['agreement']

    (log,) = (tmp_path / 'run').glob('*/*.log')
    text = log.read_text()
    assert text.count('21 target images, 3 cameras: what can be known') == 2
    assert 'accuracy\n' in text
    (row,) = [x for x in text.splitlines() if 'mined positives per' in x]
    assert row.split()[4] == '-'
    for row in (begin, end):
        assert f'{row["mutual_across_cameras"]:.5g}' in text


def test_nothing_depends_on_it(tiny_config):
    with_it, without = (
        train(tiny_config(name, **changes))
        for name, changes in (('on', {}), ('off', OFF))
    )
    assert 'train/loss_mdl' in history(with_it)
    tiny_mar.assert_same(history(with_it), history(without))
    tiny_mar.assert_same(
        dict(with_it.model.state_dict()), dict(without.model.state_dict())
    )


@pytest.mark.parametrize('workers', [0, 1])
def test_no_clusters_depend_on_it(tiny_config, extractions, workers):
    runners = []
    for name, changes in (('on', {}), ('off', OFF)):
        extractions.clear()
        cfg = clusters(tiny_config, name, workers, **changes)
        runners.append(train(cfg))
        # Each epoch, and at the end: the first epoch's was there already.
        assert len(extractions) == (3 if name == 'on' else 2)
    states = [history(runner) for runner in runners]
    tiny_mar.assert_same(*states)
    begin, end = written(runners[0])
    assert 'clusters' not in begin
    assert end['clusters'] == 4
    assert end['clustered'] == pytest.approx(100 * 20 / 21)
    assert states[0]['train/clusters'].tolist() == [4, 4]


@pytest.mark.parametrize('at', [BOUNDARY, BOUNDARY + 4])
def test_resuming_keeps_what_was_before(tiny_config, at):
    whole = written(train(tiny_config('whole')))
    changes = dict(default_hooks__checkpoint__interval=1)
    kill = dict(type='KillHook', event='before_train_iter', at=at)
    with pytest.raises(Killed):
        train(tiny_config('cut', custom_hooks=[kill], **changes))
    assert written(train(tiny_config('cut', resume=True, **changes))) == whole


def test_without_the_domain_it_is_silent(tiny_config, extractions, tmp_path):
    train(
        tiny_config(
            train_cfg__order=['pretrain'],
            train_dataloader__dataset__target=None,
        )
    )
    assert extractions == []
    assert not (tmp_path / 'run' / 'neighbours.json').exists()


def test_a_run_that_is_stopped_does_not_wait_for_it(
    tiny_config, extractions, tmp_path
):
    stop = dict(type='StopHook', at=10)
    train(tiny_config(custom_hooks=[stop]))
    assert extractions == ['target']
    assert not (tmp_path / 'run' / 'neighbours.json').exists()


def test_features_are_extracted_anew_where_they_may_differ(
    tiny_config, extractions
):
    loop = train(tiny_config(**OFF)).train_loop
    extractions.clear()
    state = torch.random.get_rng_state()
    first = loop.extract('target')
    assert torch.equal(torch.random.get_rng_state(), state)
    assert loop.extract('target') is first and len(extractions) == 1
    # Of the stage alone: features do not depend on it.
    loop.algorithm.miner.threshold.add_(1)
    assert loop.extract('target') is first
    assert loop.extract('source') is not first
    assert loop.extract('target') is not first and len(extractions) == 3
    with torch.no_grad():
        next(loop.algorithm.backbone.parameters()).add_(1)
    moved = loop.extract('target')
    assert not torch.equal(moved.features, first.features)
    # Somebody wrote into them.
    moved.features.add_(1)
    again = loop.extract('target')
    assert not torch.equal(again.features, moved.features)
    loop.algorithm.backbone.layer1[0].bn1.running_mean.add_(1)
    assert loop.extract('target') is not again

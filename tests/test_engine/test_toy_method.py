import random

import pytest
import tiny_mar
import torch
from mmengine.runner import Runner
from tiny_mar import NUM_TARGETS, hook_of, run_two, train
from toy_method import (
    NUM_CLUSTERS,
    NoteClustersHook,
    ToyClusters,
    toy_config,
)

NOTE = dict(type='NoteClustersHook')
# Of 21 images, in batches of 8 or less, an epoch has as many iterations.
EPOCH, END = 4, 12


@pytest.fixture
def config(benchmark, tmp_path):
    def config(work_dir='run', *hooks, **changes):
        cfg = toy_config(
            tiny_mar.tiny_config(benchmark, str(tmp_path / work_dir))
        )
        cfg.default_hooks.checkpoint.interval = 3
        cfg.custom_hooks = list(hooks)
        cfg.merge_from_dict(
            {key.replace('__', '.'): value for key, value in changes.items()}
        )
        return cfg

    return config


def last_states(work_dir, name=f'iter_{END}'):
    checkpoint = torch.load(f'{work_dir}/{name}.pth', weights_only=True)
    return {
        key: checkpoint[key]
        for key in ('state_dict', 'optimizer', 'param_schedulers')
    }


def note_epochs(monkeypatch):
    """A list of the epochs for which labels are made from now on."""
    epochs, prepare = [], ToyClusters.prepare_epoch

    def prepare_epoch(self, stage, epoch, extract):
        epochs.append(epoch)
        prepare(self, stage, epoch, extract)

    monkeypatch.setattr(ToyClusters, 'prepare_epoch', prepare_epoch)
    return epochs


@pytest.mark.parametrize('interval', [1, 2])
def test_labels_decide_the_batches(config, interval):
    runner = train(
        config('run', NOTE, default_hooks__pseudo_labels__interval=interval)
    )
    note = hook_of(runner, NoteClustersHook)
    assert list(note.drawn) == list(range(END))
    for k in range(END):
        labels = note.labels[k]
        # Made anew where an epoch begins, and nowhere else.
        if k % EPOCH == 0 and k // EPOCH % interval == 0:
            assert k == 0 or labels != note.labels[k - 1]
        else:
            assert labels == note.labels[k - 1]
        assert labels.count(-1) == 1
        assert set(labels) == {-1, *range(NUM_CLUSTERS)}
        # Two clusters and two images of each, none of them the outlier.
        drawn = [labels[i] for i in note.drawn[k]]
        assert drawn[0] == drawn[1] != drawn[2] == drawn[3]
        assert -1 not in drawn
    # The data set knows of nothing.
    assert note.data_labels == {-1}


def test_labels_are_in_the_checkpoints(config):
    runner = train(config('run', NOTE))
    note = hook_of(runner, NoteClustersHook)
    for iteration in (9, END):
        states = torch.load(f'{runner.work_dir}/iter_{iteration}.pth')
        labels = states['state_dict']['clusters.labels']
        assert labels.tolist() == note.labels[iteration - 1]
        assert states['state_dict']['clusters.epoch'] == 2


def test_checkpoint_is_tested_without_the_target(config):
    """A test reads no training data, so it has no room for the labels."""
    runner = train(config('run'))
    found = runner.test()
    cfg = config('test', load_from=f'{runner.work_dir}/stage_cluster.pth')
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        cfg.pop(key)
    assert Runner.from_cfg(cfg).test() == found
    assert 0 < found['mAP'] < 100


def kill(event, at, hard=False):
    return dict(
        type='KillHook', event=event, at=at, priority='LOWEST', hard=hard
    )


@pytest.mark.parametrize(
    'hook, resumed_at',
    [
        # Within the first, the second and the last epoch; iter_3.pth, ...
        (kill('after_train_iter', 4), 3),
        (kill('after_train_iter', 6), 6),
        (kill('before_train_iter', 10), 9),
        # As an epoch begins: labels are made, and not saved.
        (kill('before_train_iter', 8), 6),
        (kill('before_train_iter', 4), 3),
    ],
    ids=lambda x: f'{x["event"]}-{x["at"]}' if isinstance(x, dict) else str(x),
)
def test_resumed_run_equals_whole_run(config, monkeypatch, hook, resumed_at):
    whole = train(config('whole', NOTE))
    with pytest.raises(tiny_mar.Killed):
        train(config('run', hook))
    made = note_epochs(monkeypatch)
    resumed = train(config('run', NOTE, resume=True))
    # Not again for the epoch that was under way.
    first = -(-resumed_at // EPOCH)
    assert made == list(range(first, 3))
    ours, theirs = (hook_of(r, NoteClustersHook) for r in (resumed, whole))
    for k in range(resumed_at, END):
        assert ours.drawn[k] == theirs.drawn[k]
        assert ours.labels[k] == theirs.labels[k]
    assert min(ours.drawn) == resumed_at
    tiny_mar.assert_same(
        last_states(resumed.work_dir), last_states(whole.work_dir)
    )


@pytest.mark.parametrize('interval, made', [(1, [1, 2]), (2, [2])])
def test_resumes_where_an_epoch_begins(config, monkeypatch, interval, made):
    """From the checkpoint of an epoch's end, as the runtime configures it."""
    changes = dict(
        default_hooks__checkpoint=dict(by_epoch=True, interval=1),
        default_hooks__pseudo_labels__interval=interval,
    )
    whole = train(config('whole', NOTE, **changes))
    with pytest.raises(tiny_mar.Killed):
        train(config('run', kill('after_train_iter', EPOCH + 1), **changes))
    epochs = note_epochs(monkeypatch)
    resumed = train(config('run', NOTE, resume=True, **changes))
    # With interval=2 the second epoch has the labels of the first.
    assert epochs == made
    ours, theirs = (hook_of(r, NoteClustersHook) for r in (resumed, whole))
    assert ours.drawn == {k: theirs.drawn[k] for k in range(EPOCH, END)}
    assert ours.labels == {k: theirs.labels[k] for k in range(EPOCH, END)}
    tiny_mar.assert_same(
        *(last_states(r.work_dir, 'epoch_3') for r in (resumed, whole))
    )


def test_killed_process(config):
    whole = train(config('whole'))
    tiny_mar.train_killed(config('run', kill('after_train_iter', 9, True)))
    resumed = train(config('run', resume=True))
    tiny_mar.assert_same(
        last_states(resumed.work_dir), last_states(whole.work_dir)
    )


def test_two_processes(config, tmp_path):
    changes = dict(
        model__backbone__norm_eval=True,
        train_cfg__stages__cluster__batch_size__target=8,
    )
    cfg = config('two', dict(type='DumpRankHook'), **changes)
    cfg.dump(str(tmp_path / 'toy.py'))
    run_two('dist_train.sh', tmp_path / 'toy.py', 2)
    first = tiny_mar.state_of_ranks(tmp_path / 'two')
    assert (first['clusters.labels'] >= 0).sum() == NUM_TARGETS - 1
    one = dict(train(config('one', **changes)).model.state_dict())
    tiny_mar.assert_close_states(first, one)


def test_labels_of_the_target_do_not_leak(config, benchmark, tmp_path):
    from test_no_label_leak import write_manifest

    states = []
    for name, relabel in (
        ('true', lambda ids: ids),
        ('random', lambda ids: random.Random(0).choices(range(4), k=len(ids))),
    ):
        file = str(tmp_path / f'{name}.csv')
        write_manifest(benchmark, file, relabel)
        target = dict(
            _delete_=True,
            type='ReIDManifest',
            ann_file=file,
            labelled=False,
        )
        cfg = config(name, train_dataloader__dataset__target=target)
        states.append(dict(train(cfg).model.state_dict()))
    tiny_mar.assert_same(*states)


def test_a_sampler_by_labels_that_nobody_has(config):
    cfg = config('run')
    cfg.model.type = 'SilentClusters'
    from mmreid.registry import MODELS

    @MODELS.register_module(force=True)
    class SilentClusters(ToyClusters):
        def sampling_labels(self, domain):
            return None

    with pytest.raises(
        ValueError, match='draws by identities, but the target .* makes no'
    ):
        train(cfg)


def test_labels_of_another_number(config):
    model = train(config('run')).model
    with pytest.raises(ValueError, match='21 images, but pseudo-labels of'):
        model.clusters.assign(torch.zeros(4, dtype=torch.int64), 0)
    states = model.state_dict()
    model.clusters.allocate(18)
    with pytest.raises(ValueError, match='pseudo-labels of 21 .* has 18'):
        model.load_state_dict(states)


def test_labels_that_nobody_makes(config):
    cfg = config('run')
    del cfg.default_hooks['pseudo_labels']
    with pytest.raises(
        ValueError,
        match="'cluster' draws the target .* no image has .*PseudoLabelHook",
    ):
        train(cfg)

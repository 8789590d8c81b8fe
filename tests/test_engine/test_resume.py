import os.path as osp
from collections import Counter

import pytest
import tiny_mar
import torch
from tiny_mar import BOUNDARY, END, MINING, RecordHook, hook_of, train

RECORD = dict(type='RecordHook')


def worker_config(benchmark, work_dir, *hooks, **changes):
    """Worker processes, augmentation, a checkpoint every 2 iterations."""
    return tiny_mar.tiny_config(
        benchmark,
        str(work_dir),
        custom_hooks=list(hooks),
        **(dict(train_dataloader__num_workers=1) | changes),
    )


def last_states(work_dir):
    """All that a later iteration would start from."""
    checkpoint = torch.load(
        osp.join(work_dir, f'iter_{END}.pth'), weights_only=True
    )
    return {
        key: checkpoint[key]
        for key in ('state_dict', 'optimizer', 'param_schedulers')
    }


@pytest.fixture(scope='module')
def whole(benchmark, tmp_path_factory):
    """A run that nothing interrupts."""
    work_dir = tmp_path_factory.mktemp('whole')
    runner = train(worker_config(benchmark, work_dir, RECORD))
    return last_states(work_dir), hook_of(runner, RecordHook)


def kill(event, at, priority='LOWEST', hard=False):
    return dict(
        type='KillHook', event=event, at=at, priority=priority, hard=hard
    )


@pytest.mark.parametrize(
    'hook, resumed_at',
    [
        # Between two checkpoints, whose iterations are trained again.
        (kill('after_train_iter', 2), 2),
        (kill('after_train_iter', 3), 4),
        # iter_6.pth is written, stage_pretrain.pth is not.
        (kill('after_stage', 'pretrain', 'HIGHEST'), BOUNDARY),
        # Both are, the main stage has not begun.
        (kill('before_stage', 'main', 'HIGHEST'), BOUNDARY),
        # It has measured threshold and references, and saved nothing.
        (kill('before_train_iter', BOUNDARY), BOUNDARY),
        (kill('after_train_iter', MINING - 2), MINING - 1),
        (kill('after_train_iter', MINING + 1), MINING + 1),
        (kill('before_train_iter', MINING + 4), MINING + 3),
        # iter_15.pth is written, stage_main.pth is not.
        (kill('after_stage', 'main', 'HIGHEST'), END),
    ],
    ids=lambda x: f'{x["event"]}-{x["at"]}' if isinstance(x, dict) else str(x),
)
def test_resumed_run_equals_whole_run(
    benchmark, tmp_path, whole, hook, resumed_at
):
    states, record = whole
    with pytest.raises(tiny_mar.Killed):
        train(worker_config(benchmark, tmp_path, hook))
    runner = train(worker_config(benchmark, tmp_path, RECORD, resume=True))
    # By iteration: the same images in the same order, and no other.
    assert hook_of(runner, RecordHook).samples == {
        k: record.samples[k] for k in range(resumed_at, END)
    }
    tiny_mar.assert_same(last_states(tmp_path), states)
    tiny_mar.assert_same(
        dict(runner.model.state_dict()), dict(states['state_dict'])
    )
    assert {'stage_pretrain.pth', 'stage_main.pth'} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_killed_process(benchmark, tmp_path, whole):
    cfg = worker_config(
        benchmark, tmp_path, kill('after_train_iter', MINING + 1, hard=True)
    )
    tiny_mar.train_killed(cfg)
    train(worker_config(benchmark, tmp_path, resume=True))
    tiny_mar.assert_same(last_states(tmp_path), whole[0])


def test_one_cycle_schedule(benchmark, tmp_path):
    one_cycle = dict(
        type='OneCycleLR',
        eta_max=0.02,
        total_steps=END - BOUNDARY,
        by_epoch=False,
    )
    changes = dict(train_cfg__stages__main__param_scheduler=[one_cycle])
    train(worker_config(benchmark, tmp_path / 'whole', **changes))
    cut = tmp_path / 'cut'
    at = kill('after_train_iter', MINING + 1)
    with pytest.raises(tiny_mar.Killed):
        train(worker_config(benchmark, cut, at, **changes))
    train(worker_config(benchmark, cut, resume=True, **changes))
    tiny_mar.assert_same(last_states(cut), last_states(tmp_path / 'whole'))


def test_weights_do_not_depend_on_workers(benchmark, tmp_path, whole):
    train(worker_config(benchmark, tmp_path, train_dataloader__num_workers=0))
    tiny_mar.assert_same(last_states(tmp_path), whole[0])


def test_resuming_loads_only_what_it_trains_on(benchmark, tmp_path):
    pipeline = [
        dict(type='LogPath', file=str(tmp_path / 'loaded.txt')),
        dict(type='LoadReIDImage'),
        dict(type='PackReIDInputs'),
    ]
    changes = dict(
        train_dataloader__dataset__pipeline=pipeline,
        # It would load all target images at the end.
        default_hooks__neighbour_report__domain=None,
    )
    hook = kill('after_train_iter', MINING + 2)
    with pytest.raises(tiny_mar.Killed):
        train(worker_config(benchmark, tmp_path, hook, **changes))
    (tmp_path / 'loaded.txt').unlink()
    runner = train(
        worker_config(benchmark, tmp_path, RECORD, resume=True, **changes)
    )
    samples = hook_of(runner, RecordHook).samples
    assert min(samples) == MINING + 3
    dataset = runner.train_loop.dataset
    trained = Counter(
        dataset.get_data_info(dataset.domains[name].span[index])['img_path']
        for batch in samples.values()
        for name, index in zip(
            (['source', 'target'][d] for d in batch[0]), batch[1], strict=True
        )
    )
    loaded = (tmp_path / 'loaded.txt').read_text().split()
    assert Counter(loaded) == trained

"""Runs that are asked to stop, killed, damaged, moved, or started twice."""

import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
import tiny_mar
import torch
from mmengine.runner import Runner
from tiny_mar import BOUNDARY, END, MINING, RecordHook, hook_of, train

from mmreid.engine.hooks.interruption_hook import EXIT_STATUS
from mmreid.errors import InputError
from mmreid.utils.work_dir import claim_work_dir

fork = multiprocessing.get_context('fork')


def config(benchmark, work_dir, *hooks, **changes):
    return tiny_mar.tiny_config(
        benchmark, str(work_dir), custom_hooks=list(hooks), **changes
    )


def last_states(work_dir):
    checkpoint = torch.load(f'{work_dir}/iter_{END}.pth')
    return {
        key: checkpoint[key]
        for key in ('state_dict', 'optimizer', 'param_schedulers')
    }


@pytest.fixture(scope='module')
def whole(benchmark, tmp_path_factory):
    """The end of a run that nothing interrupts."""
    work_dir = tmp_path_factory.mktemp('uninterrupted')
    train(config(benchmark, work_dir))
    return last_states(work_dir)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize('at', [2, BOUNDARY - 1, BOUNDARY, MINING + 1])
def test_stops_as_asked_and_resumes_bit_for_bit(
    benchmark, tmp_path, whole, at, number
):
    handlers = [signal.getsignal(number)]
    hook = dict(type='AskHook', at=at, signal=int(number))
    with pytest.raises(SystemExit) as end:
        train(config(benchmark, tmp_path, hook))
    assert end.value.code == EXIT_STATUS == 75
    assert signal.getsignal(number) is handlers[0]
    # The iteration came to its end, and is saved.
    stopped = torch.load(tmp_path / 'interrupted.pth')
    assert stopped['meta']['iter'] == at + 1
    record = dict(type='RecordHook')
    runner = train(config(benchmark, tmp_path, record, resume=True))
    assert min(hook_of(runner, RecordHook).samples) == at + 1
    tiny_mar.assert_same(last_states(tmp_path), whole)
    assert (tmp_path / 'stage_pretrain.pth').exists()


def test_an_error_leaves_the_signals_as_they_were(benchmark, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    kill = dict(type='KillHook', event='after_train_iter', at=2)
    with pytest.raises(tiny_mar.Killed):
        train(config(benchmark, tmp_path, kill))
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_signal_ends_the_process(benchmark, tmp_path, request):
    # Where a test process is told to ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    hooks = [dict(type='AskHook', at=2, signal=2) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt):
        train(config(benchmark, tmp_path, *hooks))
    assert not (tmp_path / 'interrupted.pth').exists()


def test_workers_do_not_stop_for_the_signal(benchmark, tmp_path, whole):
    """Ctrl-C reaches every process of the terminal."""
    script = (
        'import tiny_mar, torch; torch.set_num_threads(1);'
        f'tiny_mar.train(tiny_mar.tiny_config({benchmark!r}, '
        f'{str(tmp_path)!r}, train_dataloader__num_workers=2, '
        "custom_hooks=[dict(type='StopHook', at=10**6)]))"
    )
    process = subprocess.Popen(
        [sys.executable, '-c', script],
        env=dict(
            os.environ,
            PYTHONPATH=f'{tiny_mar.ROOT}/tests:{tiny_mar.ROOT}',
            OMP_NUM_THREADS='1',
        ),
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / 'iter_2.pth').exists():
        time.sleep(0.01)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate()[1]
    if (tmp_path / f'iter_{END}.pth').exists():
        pytest.skip('the run was over before the signal came')
    assert process.returncode == EXIT_STATUS, error
    assert 'SIGINT: saves at the end of this iteration' in error
    assert 'Traceback' not in error
    train(config(benchmark, tmp_path, resume=True))
    tiny_mar.assert_same(last_states(tmp_path), whole)


def test_falls_back_to_the_whole_checkpoint(benchmark, tmp_path, whole):
    kill = dict(type='KillHook', event='after_train_iter', at=MINING + 2)
    with pytest.raises(tiny_mar.Killed):
        train(config(benchmark, tmp_path, kill))
    newest, older = (tmp_path / f'iter_{k}.pth' for k in (10, 8))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    (tmp_path / 'last_checkpoint').unlink()
    moved = tmp_path.rename(tmp_path.parent / 'moved_run')
    record = dict(type='RecordHook')
    runner = train(config(benchmark, moved, record, resume=True))
    assert min(hook_of(runner, RecordHook).samples) == 8
    tiny_mar.assert_same(last_states(moved), whole)
    assert (moved / 'last_checkpoint').read_text() == f'iter_{END}.pth'


def test_nothing_to_resume(benchmark, tmp_path):
    with pytest.raises(InputError, match='nothing to resume'):
        train(config(benchmark, tmp_path, resume=True))


def _claim(work_dir, claimed, options):
    try:
        claim_work_dir(work_dir, **options)
    except InputError as error:
        claimed.put(str(error))
    else:
        claimed.put('')
        time.sleep(600)


def claim_elsewhere(work_dir, **options):
    """Claim it in another process: that, and what it answered."""
    claimed = fork.Queue()
    process = fork.Process(target=_claim, args=(work_dir, claimed, options))
    process.start()
    return process, claimed.get(timeout=60)


def test_a_work_dir_has_one_owner(tmp_path):
    work_dir = str(tmp_path / 'run')
    first, answer = claim_elsewhere(work_dir)
    assert answer == ''
    second, answer = claim_elsewhere(work_dir, resume=True)
    assert f'in use by process {first.pid} on ' in answer
    first.kill()
    first.join()
    # The lock does not outlive its process.
    third, answer = claim_elsewhere(work_dir, resume=True)
    assert answer == ''
    third.kill()
    for process in (second, third):
        process.join()


def test_an_earlier_run_is_kept_unless_it_may_go(benchmark, tmp_path):
    work_dir = str(tmp_path)
    claim_work_dir(work_dir)
    for name in ('epoch_1.pth', 'stage_main.pth', 'mine.pth'):
        (tmp_path / name).write_bytes(b'weights')
    with pytest.raises(InputError, match='epoch_1.pth, stage_main.pth'):
        claim_work_dir(work_dir)
    claim_work_dir(work_dir, resume=True)
    assert len(list(tmp_path.glob('*.pth'))) == 3
    claim_work_dir(work_dir, overwrite=True)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['mine.pth']


def test_a_checkpoint_says_who_made_it(benchmark, tmp_path):
    runner = train(config(benchmark, tmp_path))
    found = torch.load(tmp_path / 'stage_main.pth')['meta']['provenance']
    assert found['seed'] == runner.seed
    assert found['command'] == shlex.join(sys.argv)
    assert found['versions']['torch'] == torch.__version__.split('+')[0]
    (source,), (target,) = found['data']['source'], found['data']['target']
    assert (source['num_images'], source['num_identities']) == (24, 6)
    assert (target['num_images'], target['num_identities']) == (21, 0)
    # The list of files, and nothing else, makes the hash.
    again = Runner.from_cfg(config(benchmark, tmp_path / 'again'))
    again.train()
    other = torch.load(tmp_path / 'again/stage_main.pth')['meta']
    assert other['provenance']['data'] == found['data']
    assert source['sha256'] != target['sha256']
    assert (tmp_path / 'run.json').exists()

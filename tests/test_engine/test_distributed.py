import json
import os
import subprocess
import sys

import pytest
import tiny_mar
import tiny_tj_aidl
import torch
from mmengine.runner import Runner
from tiny_mar import END, NUM_TARGETS, run_two, train


@pytest.fixture(scope='module')
def config(benchmark, tmp_path_factory):
    """Work dir and config of a network whose batch norms stay as they are.

    Batch statistics are those of a process; without them two processes have
    to do what one does.
    """
    folder = tmp_path_factory.mktemp('distributed')
    cfg = tiny_mar.tiny_config(
        benchmark,
        str(folder / 'two'),
        model__backbone__norm_eval=True,
        custom_hooks=[dict(type='DumpRankHook')],
        log_level='INFO',
    )
    cfg.custom_imports = dict(imports=['tiny_mar'])
    cfg.update(
        val_dataloader=cfg.test_dataloader,
        val_evaluator=cfg.test_evaluator,
        val_cfg=dict(),
    )
    cfg.dump(str(folder / 'tiny.py'))
    return folder, cfg


@pytest.fixture(scope='module')
def trained(config):
    """Both trainings: by two processes, and by this one."""
    folder, cfg = config
    output = run_two('dist_train.sh', folder / 'tiny.py', 2)
    cfg = cfg.copy()
    cfg.work_dir = str(folder / 'one')
    cfg.experiment_name += '_one'
    return folder, output, train(cfg)


def test_two_processes_train_as_one(trained):
    folder, output, runner = trained
    one = dict(runner.model.state_dict())
    two = torch.load(folder / 'two' / f'iter_{END}.pth', weights_only=True)[
        'state_dict'
    ]
    # All that MAR keeps besides the weights is among it.
    assert one['memory.rows'].shape == (NUM_TARGETS, 6)
    assert one['memory.visited'].any() and one['miner.threshold'] > 0
    assert len(one['references.mean']) == len(one['references.std']) == 6
    tiny_mar.assert_close_states(two, one)
    # Evaluated after each stage.
    assert output.count('rank-1   rank-5  rank-10  rank-20') == 2


def test_ranks_hold_the_same(trained):
    folder, _, _ = trained
    tiny_mar.state_of_ranks(folder / 'two')
    assert not (folder / 'one' / 'rank1.pth').exists()


def test_metrics_do_not_depend_on_processes(trained):
    folder, _, _ = trained
    checkpoint = str(folder / 'two' / 'stage_main.pth')
    out = folder / 'out.json'
    run_two(
        *('dist_test.sh', folder / 'tiny.py', checkpoint, 2),
        *('--work-dir', folder / 'test', '--out', out, '--camera-mean'),
    )
    cfg = tiny_mar.Config.fromfile(str(folder / 'tiny.py'))
    # The processes share the training images, too.
    cfg.test_evaluator.camera_mean = 'train'
    cfg.update(
        work_dir=str(folder / 'here'),
        load_from=checkpoint,
        custom_hooks=[],
        experiment_name='here',
    )
    metrics = Runner.from_cfg(cfg).test()
    # Exactly, and not trivial.
    written = json.loads(out.read_text())
    del written['provenance']
    assert written == metrics
    assert 0 < metrics['mAP'] < 100


def test_tj_aidl_in_two_processes(benchmark, tmp_path):
    """All its stages, then the test; batch norms as in ``config``."""
    cfg = tiny_tj_aidl.tiny_config(
        benchmark,
        str(tmp_path / 'two'),
        model__backbone__norm_eval=True,
        # Adam makes steps of gradients that are nothing but rounding.
        optim_wrapper=dict(
            _delete_=True, optimizer=dict(type='SGD', lr=0.002, momentum=0.9)
        ),
        custom_hooks=[dict(type='DumpRankHook')],
        **{
            f'train_cfg__stages__{stage}__max_iters': 2
            for stage in ('identity', 'joint', 'adapt')
        },
    )
    cfg.custom_imports = dict(imports=['tiny_mar'])
    cfg.update(
        val_dataloader=cfg.test_dataloader,
        val_evaluator=cfg.test_evaluator,
        val_cfg=dict(),
    )
    cfg.dump(str(tmp_path / 'tiny.py'))
    run_two('dist_train.sh', tmp_path / 'tiny.py', 2)

    first = tiny_mar.state_of_ranks(tmp_path / 'two')
    assert any(key.startswith('source_backbone.') for key in first)

    cfg.update(
        work_dir=str(tmp_path / 'one'),
        experiment_name=f'{cfg.experiment_name}_one',
    )
    one = dict(train(cfg).model.state_dict())
    tiny_mar.assert_close_states(first, one)

    (scalars,) = (tmp_path / 'two').glob('*/vis_data/scalars.json')
    metrics = json.loads(scalars.read_text().splitlines()[-1])
    cfg.update(
        work_dir=str(tmp_path / 'here'),
        load_from=str(tmp_path / 'two' / 'stage_adapt.pth'),
        experiment_name=f'{cfg.experiment_name}_here',
    )
    tested = Runner.from_cfg(cfg).test()
    assert tested == {key: metrics[key] for key in tested}
    assert 0 < tested['mAP'] < 100


def test_both_ranks_stop_as_asked(benchmark, tmp_path):
    """One of them is asked; both stop at one iteration, and go on."""
    cfg = tiny_mar.tiny_config(
        benchmark,
        str(tmp_path / 'run'),
        custom_imports=dict(imports=['tiny_mar']),
    )
    cfg.dump(str(tmp_path / 'whole.py'))
    cfg.custom_hooks = [dict(type='AskHook', at=7, rank=1)]
    cfg.dump(str(tmp_path / 'asked.py'))
    arguments = ('--work-dir', tmp_path / 'run')
    with pytest.raises(AssertionError, match='Stopped after iteration 9'):
        run_two('dist_train.sh', tmp_path / 'asked.py', 2, *arguments)
    stopped = torch.load(tmp_path / 'run' / 'interrupted.pth')
    assert stopped['meta']['iter'] == 9
    output = run_two(
        'dist_train.sh', tmp_path / 'whole.py', 2, '--resume', *arguments
    )
    assert 'run/interrupted.pth' in output
    assert (tmp_path / 'run' / 'iter_15.pth').exists()


ENDS = """
import sys
import atexit
import torch
import torch.distributed as dist
from mmreid.utils.run import exit_with_message

class Ends:
    def __del__(self):
        print('the interpreter ended')

kept = sys.kept = Ends()
atexit.register(print, 'handlers ran')
with exit_with_message():
    dist.init_process_group(
        'gloo', init_method=f'file://{sys.argv[1]}', rank=0, world_size=1
    )
    sys.ddp = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
    if len(sys.argv) > 2:
        sys.exit(eval(sys.argv[2]))
"""


@pytest.mark.parametrize(
    'given, status, message',
    [(None, 0, ''), (75, 75, ''), ('why', 1, 'why\n')],
)
def test_ends_before_its_threads_abort_it(tmp_path, given, status, message):
    """The interpreter's end, while the group's threads live, is left out.

    One of them aborts the process then if it still has a tensor to give back,
    which happens too seldom to be waited for here.
    """
    result = subprocess.run(
        [sys.executable, '-c', ENDS, str(tmp_path / 'store')]
        + [repr(given)] * bool(given),
        capture_output=True,
        text=True,
        env=dict(os.environ, OMP_NUM_THREADS='1'),
    )
    assert result.returncode == status, result.stderr
    # PyTorch 2.8 writes lines of its own there.
    lines = result.stdout.splitlines()
    assert [line for line in lines if not line.startswith('[Gloo]')] == [
        'handlers ran'
    ]
    assert result.stderr.endswith(message)

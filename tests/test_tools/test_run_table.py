import json
import multiprocessing
import os
import os.path as osp
import re
import runpy
import subprocess
import sys

import pytest
import tiny_mar

TOOL = osp.join(tiny_mar.ROOT, 'tools', 'run_table.py')
TABLE = """
configs = ['tiny.py']
rows = dict(
    wo_mdl=dict(title='A row', model=dict(miner=None)),
    wrong=dict(title='Wrong', test_evaluator=dict(metric='no')))
"""


@pytest.fixture
def table(tiny_config, tmp_path):
    """A table of the tiny config, of which each stage has an epoch."""
    one = dict(max_epochs=1, param_scheduler=[])
    cfg = tiny_config(
        train_cfg__stages__pretrain=one, train_cfg__stages__main=one
    )
    cfg.pop('work_dir')
    cfg.pop('experiment_name')
    cfg.dump(str(tmp_path / 'tiny.py'))
    (tmp_path / 'table.py').write_text(TABLE)
    return str(tmp_path / 'table.py')


@pytest.fixture
def run(table, tmp_path, run_main, monkeypatch, capsys):
    """Run the tool: its status, its output, and the tools that it called."""

    whole_run = subprocess.run

    def work(command):
        # Forked to save the imports.
        sys.stdout = sys.stderr = open(os.devnull, 'w')
        sys.argv = command[1:]
        subprocess.run = whole_run
        runpy.run_path(sys.argv[0], run_name='__main__')

    def run(*arguments):
        called = []

        def call(command, check):
            called.append(osp.basename(command[1]))
            process = multiprocessing.get_context('fork').Process(
                target=work, args=(command,)
            )
            process.start()
            process.join()
            if process.exitcode:
                raise subprocess.CalledProcessError(process.exitcode, command)

        monkeypatch.setattr(subprocess, 'run', call)
        arguments = [table, *arguments, '--work-dir', tmp_path / 'W']
        status = run_main(TOOL, *arguments)
        streams = capsys.readouterr()
        return status, streams.out + streams.err, called

    return run


def read(path):
    return json.loads(path.read_text())


def test_list_runs_nothing(run, tmp_path):
    status, output, called = run('--list')
    assert (status, called) == (0, [])
    assert f'tiny_wo_mdl\n    A row\n    {tmp_path}/tiny.py:wo_mdl' in output
    assert "'miner': None" in output
    assert not (tmp_path / 'W').exists()
    output = run('*mdl', '--list')[1]
    assert 'tiny_wo_mdl' in output and 'tiny_wrong' not in output


def test_rows_are_trained_and_tested_once(run, tmp_path):
    seeds = ('--seeds', '0', '1')
    status, output, called = run('tiny', '*_wo_mdl', *seeds)
    assert (status, called) == (0, ['train.py', 'test.py'] * 4)
    folder = tmp_path / 'W'
    results = read(folder / f'{tmp_path.name}_table.json')
    assert [r['row'] for r in results] == ['tiny', 'tiny_wo_mdl']
    for result in results:
        assert result['seeds'] == [0, 1]
        for seed, metrics in zip((0, 1), result['metrics'], strict=True):
            where = folder / result['row'] / f'seed_{seed}'
            written = read(where / 'metrics.json')
            assert str(where) in written.pop('provenance')['command']
            assert metrics == written
            # The row is what was trained, with the seed.
            text = (where / f'{result["row"]}.py').read_text()
            assert ('miner=None' in text) == (result['row'] != 'tiny')
    first, second = (m['mAP'] for m in results[1]['metrics'])
    mean = f'{(first + second) / 2:.1f}'
    deviation = f'{abs(first - second) / 2**0.5:.1f}'
    line = re.search(r'^\| tiny_wo_mdl \|.*$', output, re.M)[0]
    assert line.endswith(f' {mean} ± {deviation} |')
    assert line in (folder / f'{tmp_path.name}_table.md').read_text()

    # What is finished is kept; a row without metrics is tested again.
    (folder / 'tiny/seed_1/metrics.json').unlink()
    status, again, called = run('tiny', '*_wo_mdl', *seeds)
    assert (status, called) == (0, ['test.py'])
    assert line in again
    # Other settings would be a table of different things.
    status, output, called = run('tiny', *seeds, '--amp')
    assert (status, called) == (1, [])
    assert "tiny/seed_0/row.json' says that the row was run with" in output


def test_a_row_that_fails_does_not_stop_the_others(run, tmp_path):
    status, output, called = run(
        *('*wrong', 'tiny_wo_mdl', '--cfg-options'),
        *('train_cfg.order=["pretrain"]',),
    )
    assert status == 1 and called == ['train.py', 'test.py'] * 2
    assert 'error: These rows failed, see above: tiny_wrong.' in output
    assert (tmp_path / 'W/tiny_wo_mdl/stage_pretrain.pth').exists()


def test_unknown_rows(run):
    status, output, called = run('tiny_wo_ml')
    assert (status, called) == (1, [])
    assert "has no row 'tiny_wo_ml'; it has tiny_wo_mdl" in output


@pytest.mark.parametrize('adapts', [True, False])
def test_random_splits_are_scored_as_such(
    adapts, table, tmp_path, run_main, monkeypatch, capsys
):
    called = []

    def call(command, check):
        called.extend(command[1:])
        metrics = {
            name: dict(mean=12.34)
            for name in ('rank-1', 'rank-5', 'rank-10', 'mAP')
        }
        file = tmp_path / 'W/tiny_wo_mdl/results.json'
        file.write_text(json.dumps(dict(metrics=metrics)))

    monkeypatch.setattr(subprocess, 'run', call)
    options = ['test_dataloader.dataset.type=VIPeR']
    if adapts:
        options.append("train_cfg.order=['joint','adapt']")
    arguments = ('--work-dir', tmp_path / 'W', '--cfg-options', *options)
    assert run_main(TOOL, table, 'tiny_wo_mdl', *arguments) == 0
    assert osp.basename(called[0]) == 'run_splits.py'
    assert called[1] == f'{tmp_path}/tiny.py:wo_mdl'
    assert ('--no-adapt' in called) == (not adapts)
    # --cfg-options takes what follows it.
    assert not adapts or called[-2:] == options
    assert '| A row | 12.3 | 12.3 |' in capsys.readouterr().out

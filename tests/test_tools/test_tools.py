import json
import multiprocessing
import os
import os.path as osp
import re
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest
import tiny_mar
import torch
from mmengine.runner import Runner

from mmreid.evaluation import Evaluation, load_features

TOOLS = osp.join(tiny_mar.ROOT, 'tools')


def _main(tool, arguments, folder):
    """What the interpreter does with a script."""
    for number, name in ((1, 'stdout'), (2, 'stderr')):
        stream = open(f'{folder}/{name}', 'w', buffering=1)
        os.dup2(stream.fileno(), number)
        setattr(sys, name, stream)
    sys.argv = [tool, *arguments]
    runpy.run_path(osp.join(TOOLS, tool), run_name='__main__')


@pytest.fixture
def run_tool(tmp_path):
    """Run a tool in a process of its own, forked to save the imports."""

    def run(tool, *arguments):
        process = multiprocessing.get_context('fork').Process(
            target=_main, args=(tool, arguments, tmp_path)
        )
        process.start()
        process.join()
        return SimpleNamespace(
            returncode=process.exitcode,
            stdout=(tmp_path / 'stdout').read_text(),
            stderr=(tmp_path / 'stderr').read_text(),
        )

    return run


def errors_of(result):
    """The one line that a tool ends with when the input is at fault."""
    assert result.returncode == 1
    assert 'Traceback' not in result.stderr + result.stdout
    lines = [
        line for line in result.stderr.splitlines() if line.startswith('error')
    ]
    assert len(lines) == 1 and result.stderr.endswith(lines[0] + '\n')
    return lines[0]


@pytest.fixture
def config(tiny_config, tmp_path):
    """Path of a tiny config."""

    def write(**changes):
        cfg = tiny_config(log_level='INFO', **changes)
        file = str(tmp_path / 'tiny.py')
        cfg.dump(file)
        return file

    return write


@pytest.fixture(scope='module')
def trained(benchmark, tmp_path_factory):
    """Work dir of ``tools/train.py``, run as a user would."""
    work_dir = tmp_path_factory.mktemp('trained')
    folder = tmp_path_factory.mktemp('config')
    cfg = tiny_mar.tiny_config(benchmark, 'not_here', log_level='INFO')
    cfg.update(
        val_dataloader=cfg.test_dataloader,
        val_evaluator=cfg.test_evaluator,
        val_cfg=dict(),
    )
    file = str(folder / 'tiny.py')
    cfg.dump(file)
    result = subprocess.run(
        [sys.executable, f'{TOOLS}/train.py', file]
        + ['--work-dir', str(work_dir), '--seed', '3']
        + ['--cfg-options', 'train_cfg.stages.main.max_epochs=2'],
        env=dict(os.environ, OMP_NUM_THREADS='1'),
        cwd=work_dir,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return SimpleNamespace(path=work_dir, config=file, result=result)


def metrics_of(config, checkpoint, work_dir):
    """The same in this process."""
    cfg = tiny_mar.Config.fromfile(config)
    cfg.update(
        work_dir=str(work_dir),
        load_from=checkpoint,
        custom_hooks=[],
        experiment_name=osp.basename(work_dir),
    )
    return Runner.from_cfg(cfg).test()


def test_the_terminal_shows_what_a_person_needs(trained):
    output = trained.result.stdout + trained.result.stderr
    (log,) = trained.path.glob('2*/*.log')
    kept = log.read_text()
    for text in ('System environment', 'Config:', 'Hooks will be executed'):
        assert text in kept and text not in output
    assert 'source: market1501, 24 images, 6 identities, 6 cam' in output
    assert 'target: market1501, 21 images, no labels, 6 cameras' in output
    assert 'MAR with LinearEndResNet: ' in output
    assert 'FileClient' not in output
    assert len(output.splitlines()) < 60


def test_train(trained):
    assert {
        'iter_12.pth',
        'stage_main.pth',
        'stage_pretrain.pth',
        'last_checkpoint',
    } <= set(os.listdir(trained.path))
    output = trained.result.stdout + trained.result.stderr
    assert "Stage 2 of 2, 'main'" in output and 'seed 3' in output
    # The table, after each of the stages.
    assert output.count('rank-1   rank-5  rank-10  rank-20') == 2
    checkpoint = torch.load(trained.path / 'stage_main.pth', weights_only=True)
    assert checkpoint['meta']['seed'] == 3


def test_resume_takes_the_last_checkpoint(trained, run_tool, tmp_path):
    # The config has an epoch more than was trained.
    result = run_tool(
        *('train.py', trained.config, '--resume', '--seed', '3'),
        *('--work-dir', str(trained.path)),
        # Of no use when resuming.
        *('--cfg-options', 'load_from=nowhere.pth'),
    )
    assert result.returncode == 0, result.stderr
    assert 'iter: 12' in result.stdout + result.stderr
    assert (trained.path / 'iter_15.pth').exists()
    # The config that it left there, which says to resume, can be tested.
    result = run_tool(
        *('test.py', str(trained.path / 'tiny.py')),
        *(str(trained.path / 'iter_15.pth'), '--work-dir', str(tmp_path)),
    )
    assert result.returncode == 0, result.stderr


def test_resume_from_a_named_checkpoint(trained, run_tool, tmp_path):
    result = run_tool(
        *('train.py', trained.config, '--work-dir', str(tmp_path / 'run')),
        *('--resume', str(trained.path / 'iter_12.pth')),
    )
    assert result.returncode == 0, result.stderr
    assert 'iter: 12' in result.stdout + result.stderr


def test_resume_with_nothing_saved_does_not_start(config, run_tool, tmp_path):
    work_dir = tmp_path / 'mistyped'
    error = errors_of(
        run_tool('train.py', config(), '--resume', '--work-dir', str(work_dir))
    )
    assert f"nothing to resume in '{work_dir}'" in error
    assert 'leave out --resume' in error
    assert not work_dir.exists()


@pytest.mark.parametrize('stage', ['main', 'pretrain'])
def test_test(trained, run_tool, tmp_path, stage):
    checkpoint = str(trained.path / f'stage_{stage}.pth')
    result = run_tool(
        *('test.py', trained.config, checkpoint, '--work-dir'),
        *(str(tmp_path / 'run'), '--out', str(tmp_path / 'out.json')),
    )
    assert result.returncode == 0, result.stderr
    output = result.stdout + result.stderr
    assert 'rank-1   rank-5  rank-10  rank-20' in output
    metrics = json.loads((tmp_path / 'out.json').read_text())
    made_by = metrics.pop('provenance')
    assert 'test.py' in made_by['command']
    assert made_by['versions']['torch'] == torch.__version__.split('+')[0]
    assert made_by['checkpoint'] == checkpoint
    assert made_by['config']['model']['type'] == 'MAR'
    assert made_by['data']['num_images'] == 23
    assert made_by['data']['num_identities'] == 6
    assert metrics == metrics_of(
        trained.config, checkpoint, tmp_path / f'here_{stage}'
    )
    assert f'{metrics["mAP"]:.2f}' in output


def test_evaluation_options_and_features(trained, run_tool, tmp_path):
    checkpoint = str(trained.path / 'stage_main.pth')
    scores = {}
    for name, options in dict(
        plain=['--save-features', str(tmp_path / 'features.npz')],
        flip=['--flip'],
        rerank=['--rerank'],
        protocol=['--protocol', 'cross-camera', '--topk', '1', '3'],
    ).items():
        out = tmp_path / f'{name}.json'
        result = run_tool(
            *('test.py', trained.config, checkpoint, '--out', str(out)),
            *('--work-dir', str(tmp_path / 'run'), *options),
        )
        assert result.returncode == 0, result.stderr
        scores[name] = json.loads(out.read_text())
        del scores[name]['provenance']
    assert list(scores['protocol'])[:3] == ['rank-1', 'rank-3', 'mAP']
    values = {score['mAP'] for score in scores.values()}
    assert len(values) == len(scores)
    # The features give the same score without the model.
    evaluation = Evaluation(metric='cosine')
    again = evaluation(*load_features(str(tmp_path / 'features.npz')))
    assert again == pytest.approx(scores['plain'])


def test_test_without_checkpoint_and_with_options(trained, run_tool, tmp_path):
    values = []
    for ap in ('standard', 'trapezoid'):
        out = tmp_path / f'{ap}.json'
        result = run_tool(
            *('test.py', trained.config, 'none', '--val', '--ap', ap),
            *('--work-dir', str(tmp_path / 'run'), '--out', str(out)),
        )
        assert result.returncode == 0, result.stderr
        values.append(json.loads(out.read_text()))
    assert values[0]['rank-1'] == values[1]['rank-1']
    assert values[0]['mAP'] != values[1]['mAP']


def test_without_checkpoint_it_has_the_configs_weights(
    config, trained, run_tool, tmp_path
):
    weights = str(trained.path / 'stage_main.pth')
    pretrained = dict(type='Pretrained', checkpoint=weights, prefix='backbone')
    file = config(model__backbone__init_cfg=pretrained)
    scores = []
    for checkpoint in ('none', weights):
        out = str(tmp_path / 'score.json')
        result = run_tool('test.py', file, checkpoint, '--out', out)
        assert result.returncode == 0, result.stderr
        scores.append(json.loads((tmp_path / 'score.json').read_text()))
        del scores[-1]['provenance']
    # A ReID feature needs nothing but the backbone.
    assert scores[0] == scores[1]


@pytest.fixture(params=['train.py', 'test.py'])
def tool(request):
    return request.param


@pytest.mark.parametrize(
    'content, message',
    [
        (None, 'does not exist'),
        (b'', 'cannot be read: it is damaged or no checkpoint'),
        (b'hello, this is not a checkpoint\n' * 9, 'cannot be read'),
        ('cut off', 'cannot be read'),
        ('objects', 'holds pickled objects.*NO_WEIGHTS_ONLY_LOAD=1'),
    ],
    ids=['missing', 'empty', 'text', 'cut off', 'objects'],
)
def test_bad_checkpoint(config, run_tool, tmp_path, tool, content, message):
    file = tmp_path / 'bad.pth'
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        extra = SimpleNamespace() if content == 'objects' else 0
        torch.save(dict(state_dict={}, extra=extra), file)
        if content == 'cut off':
            file.write_bytes(file.read_bytes()[:300])
    if tool == 'train.py':
        arguments = ['--resume', str(file)]
    else:
        arguments = [str(file)]
    error = errors_of(run_tool(tool, config(), *arguments))
    assert f"The checkpoint '{file}' " in error
    assert re.search(message, error)


def test_missing_data(config, run_tool, tmp_path):
    changes = dict(
        train_dataloader__dataset__source__data_root='/nowhere',
        test_dataloader__dataset__data_root='/nowhere',
    )
    file = config(**changes)
    for arguments in (('train.py', file), ('test.py', file, 'none')):
        error = errors_of(run_tool(*arguments))
        assert "data_root '/nowhere' of Market1501 is no folder" in error


def test_source_is_target(config, run_tool, benchmark):
    root = f'{benchmark}/target'
    file = config(train_dataloader__dataset__source__data_root=root)
    error = errors_of(run_tool('train.py', file))
    assert 'market1501 and market1501 both hold' in error
    assert f'{root}/bounding_box_train' in error


def test_other_mistakes(config, run_tool, tmp_path):
    file = config()
    for message, arguments in {
        'missing.py': ('train.py', 'missing.py'),
        'has no ReIDMetric in its evaluators, which ap': (
            *('test.py', file, 'none', '--ap', 'mar', '--cfg-options'),
            'test_evaluator.type=AttributeMetric',
        ),
        'has no val_dataloader': ('test.py', file, 'none', '--val'),
        'use tools/dist_train.sh': ('train.py', file, '--launcher', 'pytorch'),
        'num_agents is 7': (
            *('train.py', file, '--cfg-options', 'model.head.num_agents=7'),
        ),
    }.items():
        assert message in errors_of(run_tool(*arguments))


def test_traceback_on_request(config, run_tool, monkeypatch):
    monkeypatch.setenv('MMREID_TRACEBACK', '1')
    result = run_tool('test.py', config(), 'missing.pth')
    assert result.returncode == 1
    assert (
        'Traceback' in result.stderr and 'FileNotFoundError' in result.stderr
    )


def test_an_error_of_the_code_keeps_its_traceback(
    config, run_tool, tmp_path, monkeypatch
):
    (tmp_path / 'broken_method.py').write_text(
        'from mmreid.models import MAR\n'
        'from mmreid.registry import MODELS\n\n'
        '@MODELS.register_module()\n'
        'class Broken(MAR):\n'
        '    def check(self, stages, dataset):\n'
        "        return {}['person_id']\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    file = config(
        custom_imports=dict(imports=['broken_method']), model__type='Broken'
    )
    result = run_tool('train.py', file)
    assert result.returncode == 1
    assert 'Traceback' in result.stderr
    assert "return {}['person_id']" in result.stderr


def test_dry_run(config, run_tool, tmp_path):
    work_dir = tmp_path / 'run'
    result = run_tool(
        *('train.py', config(), '--dry-run', '--work-dir', str(work_dir))
    )
    assert result.returncode == 0, result.stderr
    assert "'main': 9 iterations" in result.stdout
    assert 'Nothing is wrong with' in result.stdout
    assert not work_dir.exists()


def test_an_earlier_run_is_not_overwritten(config, run_tool, tmp_path):
    short = [
        *('--cfg-options', 'train_cfg.order=["pretrain"]'),
        'train_cfg.stages.pretrain.max_epochs=1',
    ]
    file, run_dir = config(), tmp_path / 'run'
    assert run_tool('train.py', file, *short).returncode == 0
    before = (run_dir / 'stage_pretrain.pth').read_bytes()
    error = errors_of(run_tool('train.py', file, *short))
    assert 'holds checkpoints of an earlier run (iter_2.pth, ' in error
    assert '--resume' in error and '--overwrite' in error
    assert (run_dir / 'stage_pretrain.pth').read_bytes() == before
    result = run_tool('train.py', file, '--overwrite', *short)
    assert result.returncode == 0, result.stderr
    # To resume what is over ends at once.
    result = run_tool('train.py', file, '--resume', *short)
    assert result.returncode == 0, result.stderr

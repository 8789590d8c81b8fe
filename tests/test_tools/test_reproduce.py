import copy
import json
import multiprocessing
import os
import os.path as osp
import runpy
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import cv2
import pytest
import tiny_mar
import torch
from mmengine.runner import set_random_seed

from mmreid.apis import init_model
from mmreid.utils import read_config

TOOL = osp.join(tiny_mar.ROOT, 'tools', 'reproduce.py')
TABLE = """
configs = ['tiny.py']
rows = dict(
    wo_mdl=dict(title='A row', after='pretrain', model=dict(miner=None)),
    wrong=dict(
        title='Wrong', after='pretrain', test_evaluator=dict(metric='no')),
    lost=dict(title='Lost', after='nowhere', model=dict(miner=None)),
    clusters=dict(
        title='Clusters',
        after='pretrain',
        _base_={'tiny.py': 'other/clusters.py'}))
source_only = dict(title='source only', stage='pretrain')
wo_mdl = dict(title='w/o L_MDL', row='wo_mdl')
experiments = {
    'table-1': dict(
        title='A table',
        cells=[
            source_only,
            dict(title='BN', stage='pretrain', bn=True),
            dict(
                title='BN less means',
                stage='pretrain',
                bn=True,
                camera_mean=True),
            wo_mdl,
            dict(title='MAR', paper=dict(tiny={'rank-1': 12.34})),
            dict(title='of another config', row='other'),
        ][:5]),
    'fig-1': dict(
        title='A curve',
        x='lambda',
        cells=[dict(wo_mdl, x=0.1), dict(title='MAR', x=dict(tiny=1.0))]),
    'picture': dict(
        title='A picture',
        cells=[dict(source_only, tool='rank_list')]),
    'other-method': dict(
        title='Another method goes on',
        cells=[
            source_only,
            dict(title='Cluster Contrast', row='clusters'),
            dict(
                title='clusters',
                row='clusters',
                tool='plot_pseudo_labels',
                log=True),
        ]),
    'whole': dict(
        title='All images of random splits',
        cells=[
            dict(
                source_only,
                whole=True,
                options={
                    'a.root': 'x/y',
                    'test_dataloader.dataset.type': 'CUHK01',
                }),
        ]),
    'adapted': dict(title='A', cells=[dict(title='MAR', whole=True)]),
    'drawn': dict(title='D', cells=[dict(title='MAR', tool='rank_list')]),
    'nothing': dict(
        title='Nothing trained',
        cells=[
            dict(title='untrained', stage='untrained'),
            dict(title='BN', stage='untrained', bn=True),
        ]),
    'fails': dict(
        title='One fails',
        cells=[dict(title='wrong', row='wrong'), source_only]),
    'lost': dict(title='Lost', cells=[dict(title='lost', row='lost')]),
    'misspelt': dict(title='M', cells=[dict(title='a', stages='main')]),
    'no-row': dict(title='N', cells=[dict(title='a', row='wo_mld')]),
}
"""


class Forked:
    """A tool's call, forked to save the imports."""

    called: list[list[str]] = []
    status: dict[str, int] = {}

    def __init__(self, command, env, **streams):
        self.called.append(command[1:])
        self.returncode = None
        tool = osp.basename(command[1])
        self.is_module = command[1] == '-m'
        self.fixed = self.status.get(tool)
        if self.fixed is None:
            self.process = multiprocessing.get_context('fork').Process(
                target=self.work, args=(command,)
            )
            self.process.start()

    def work(self, command):
        sys.stdout = sys.stderr = open(os.devnull, 'w')
        subprocess.Popen = self.popen
        if self.is_module:
            sys.argv = command[2:]
            runpy.run_module(sys.argv[0], run_name='__main__')
        else:
            sys.argv = command[1:]
            runpy.run_path(sys.argv[0], run_name='__main__')

    def poll(self):
        if self.fixed is not None:
            self.returncode = self.fixed
        elif not self.process.is_alive():
            self.process.join()
            self.returncode = self.process.exitcode
        return self.returncode

    def send_signal(self, number):
        os.kill(self.process.pid, number)

    def wait(self):
        self.process.join()


@pytest.fixture
def method(tiny_config, tmp_path):
    """A folder with a table of the tiny config; a stage has an epoch."""
    one = dict(max_epochs=1, param_scheduler=[])
    cfg = tiny_config(
        train_cfg__stages__pretrain=one, train_cfg__stages__main=one
    )
    cfg.pop('work_dir')
    cfg.pop('experiment_name')
    folder = tmp_path / 'method'
    folder.mkdir()
    cfg.dump(str(folder / 'tiny.py'))
    (folder / 'table.py').write_text(TABLE)
    (folder / 'other').mkdir()
    clusters(cfg).dump(str(folder / 'other/clusters.py'))
    return folder


def clusters(cfg):
    """Cluster Contrast on the network and the target of a config of MAR."""
    cfg = copy.deepcopy(cfg)
    for name in ('source', 'head', 'miner', 'memory'):
        cfg.train_dataloader.dataset.pop(name, None)
        cfg.model.pop(name, None)
    for name in [key for key in cfg.model if key.startswith('loss')]:
        cfg.model.pop(name)
    cfg.model.update(
        type='ClusterContrast',
        clusterer=dict(type='KMeans', num_clusters=5),
        memory=dict(type='ClusterMemory', temperature=0.05, momentum=0.1),
    )
    cluster = dict(
        batch_size=dict(target=8),
        sampler=dict(target=dict(type='IdentitySampler', num_instances=2)),
        epoch_length=2,
        max_epochs=2,
    )
    cfg.train_cfg = dict(
        type='StagedTrainLoop', order=['cluster'], stages=dict(cluster=cluster)
    )
    cfg.default_hooks.pop('pair_mining')
    cfg.default_hooks.pseudo_labels = dict(type='PseudoLabelHook', interval=1)
    return cfg


@pytest.fixture
def run(method, tmp_path, run_main, monkeypatch, capsys):
    """Run the tool: its status, its output, and the tools that it called."""
    popen = subprocess.Popen

    def run(name, *arguments, **status):
        kind = type(
            'Call', (Forked,), dict(called=[], status=status, popen=popen)
        )

        def start(command, **kwargs):
            # Not git, which the provenance asks.
            tool = command[0] == sys.executable
            return (kind if tool else popen)(command, **kwargs)

        monkeypatch.setattr(subprocess, 'Popen', start)
        where = ('--work-dir', tmp_path / 'W')
        status = run_main(TOOL, f'{method}/{name}', *where, *arguments)
        monkeypatch.setattr(subprocess, 'Popen', popen)
        streams = capsys.readouterr()
        names = [osp.basename(command[0]) for command in kind.called]
        run.commands = kind.called
        return status, streams.out + streams.err, names

    return run


def read(path):
    return json.loads(path.read_text())


def test_list_runs_nothing(run, tmp_path):
    status, output, called = run('table-1', '--list')
    assert (status, called) == (0, [])
    assert 'w/o L_MDL\n' in output and 'tiny.py:wo_mdl, A row' in output
    assert "'miner': None" in output
    assert not (tmp_path / 'W').exists()
    output = run('rows', '--list', '--cells', 'wo_*')[1]
    assert 'A row' in output and 'Wrong' not in output


def test_cells_are_made_once(run, tmp_path):
    seeds = ('--seeds', '0', '1')
    cells = ('--cells', 'source only', 'wo_mdl', 'MAR')
    status, output, called = run('table-1', *cells, *seeds)
    assert status == 0
    # The pretraining is shared, and each cell scored as soon as it can be.
    assert called == ['train.py', 'test.py'] * 6
    folder = tmp_path / 'W'
    results = read(folder / 'table-1_tiny.json')
    lines = {line['title']: line for line in results['lines']}
    assert list(lines) == ['source only', 'w/o L_MDL', 'MAR']
    # As the loop counted: the last checkpoints are of iterations 3 and 6.
    assert (folder / 'tiny/seed_0/pretrain/iter_3.pth').exists()
    assert (folder / 'tiny/seed_0/main/iter_6.pth').exists()
    pretrain, main = 'pretrain 3', 'main 3'
    for title, row, name, trained in (
        ('source only', 'tiny', 'pretrain', pretrain),
        ('w/o L_MDL', 'tiny_wo_mdl', 'main', f'{pretrain}, {main}'),
        ('MAR', 'tiny', 'main', f'{pretrain}, {main}'),
    ):
        line = lines[title]
        assert line['seeds'] == [0, 1] and line['trained'] == trained
        written = [
            read(folder / row / f'seed_{seed}' / f'{name}.json')
            for seed in (0, 1)
        ]
        for metrics, file in zip(line['metrics'], written, strict=True):
            assert metrics == {k: file[k] for k in metrics}
            assert file['provenance']['command'].startswith(TOOL[:-12])
        a, b = (file['mAP'] for file in written)
        assert line['mean']['mAP'] == pytest.approx((a + b) / 2)
        assert line['std']['mAP'] == pytest.approx(abs(a - b) / 2**0.5)
    assert written[0] != written[1]  # of another seed
    text = (folder / 'table-1_tiny.md').read_text()
    assert text in output
    mean, std = (lines['MAR'][k]['rank-1'] for k in ('mean', 'std'))
    assert f'| MAR | {mean:.1f} ± {std:.1f} (12.3) |' in text
    assert 'seeds 0, 1: mean ± sample standard deviation;' in text
    length = lines['MAR']['feature_length']
    assert f' | {length} | {pretrain}, {main} |' in text
    assert cv2.imread(str(folder / 'table-1_tiny.png')) is not None
    # The row's stage started from the main config's pretraining.
    (trained,) = (
        command
        for command in run.commands
        if command[1].endswith(':wo_mdl')
        and 'train.py' in command[0]
        and str(folder / 'tiny_wo_mdl/seed_1/main') in command
    )
    pretrained = folder / 'tiny/seed_1/pretrain/stage_pretrain.pth'
    assert f'load_from={pretrained}' in trained

    # What is there is kept, weights may go, a lost score is made again.
    (folder / 'tiny/seed_0/main.json').unlink()
    for seed in (0, 1):
        pretraining = folder / f'tiny/seed_{seed}/pretrain'
        (pretraining / 'stage_pretrain.pth').unlink()
    status, again, called = run('table-1', *cells, *seeds)
    assert (status, called) == (0, ['test.py'])
    assert text in again


def test_record_collects_seeds_of_several_machines(run, tmp_path):
    record = tmp_path / 'record.json'
    cells = ('--cells', 'source only', '--record', record)
    run('table-1', *cells, '--work-dir', tmp_path / 'one')
    run('table-1', *cells, '--work-dir', tmp_path / 'two', '--seeds', '1')
    (line,) = read(record)['lines']
    assert line['seeds'] == [0, 1]
    assert all(seconds > 0 for seconds in line['seconds'])
    scores = [
        read(tmp_path / folder / f'tiny/seed_{seed}/pretrain.json')['mAP']
        for seed, folder in enumerate(('one', 'two'))
    ]
    assert [m['mAP'] for m in line['metrics']] == [round(x, 4) for x in scores]
    assert line['mean']['mAP'] == pytest.approx(sum(scores) / 2, abs=1e-4)
    # Nothing in it names a machine or a folder.
    text = record.read_text()
    assert not any(str(tmp_path / name) in text for name in ('one', 'two'))
    assert os.uname().nodename not in text
    status, output, _ = run(
        *('table-1', *cells, '--work-dir', tmp_path / 'three'),
        *('--cfg-options', 'model.head.scale=7'),
    )
    assert status == 1 and "'source only' with other settings" in output


def test_record_leaves_pictures_out(run, tmp_path):
    record = tmp_path / 'record.json'
    status, output, _ = run('picture', '--record', record)
    assert status == 0, output
    assert read(record)['lines'] == []


def test_jobs_run_side_by_side_with_a_log(run, tmp_path):
    status, output, called = run('table-1', '--jobs', '2')
    assert status == 0 and called.count('adapt_bn.py') == 1
    bn = read(tmp_path / 'W/tiny/seed_0/pretrain_bn.json')
    assert bn['mAP'] != read(tmp_path / 'W/tiny/seed_0/pretrain.json')['mAP']
    # The statistics are taken once for both scores.
    less = read(tmp_path / 'W/tiny/seed_0/pretrain_bn_camera-mean.json')
    evaluator = less['provenance']['config']['test_evaluator']
    assert less['mAP'] != bn['mAP'] and evaluator['camera_mean'] == 'train'
    # By levels: the pretraining, both main stages, the scores. What the means
    # are subtracted from is extracted once for both of its scores.
    assert called[0] == 'train.py'
    assert called[4:] == ['test.py'] * 4 + ['-m']
    assert not list((tmp_path / 'W').rglob('*.npz'))
    scores = tmp_path / 'W/tiny/seed_0'
    (scores / 'pretrain_bn.json').unlink()
    assert run('table-1')[2] == ['test.py']
    assert read(scores / 'pretrain_bn.json')['mAP'] == bn['mAP']
    assert sorted(called[1:4]) == ['adapt_bn.py', 'train.py', 'train.py']
    assert (tmp_path / 'W/tiny/seed_0/main/stage_main.log').exists()
    assert 'done in' in output and ' left.' in output


def test_an_unfinished_table_is_written_as_such(run, tmp_path):
    run('table-1', '--cells', 'source only')
    # The tool that would train fails.
    status, output, called = run('table-1', **{'train.py': 1})
    assert status == 1
    assert 'tiny_wo_mdl, seed 0: training main: failed' in output
    assert 'error: These failed, see above: ' in output
    text = (tmp_path / 'W/table-1_tiny.md').read_text()
    assert 'Unfinished: 3 of 5 cells are there.' in text
    assert '| MAR | - ' in text


def test_an_interruption_is_passed_on(run):
    status, output, called = run('table-1', **{'train.py': 75})
    assert (status, called) == (75, ['train.py'])
    assert 'run the same command to go on' in output


def test_other_settings_are_refused(run, tmp_path):
    run('table-1', '--cells', 'source only')
    status, output, called = run('table-1', '--amp')
    assert (status, called) == (1, [])
    assert "tiny/seed_0/settings.json' was written by a run with" in output
    assert 'amp differ' in output


def test_results_of_another_machine_are_said(run, tmp_path):
    run('table-1', '--cells', 'source only')
    file = tmp_path / 'W/tiny/seed_0/pretrain.json'
    score = read(file)
    score['provenance']['machine'] = 'elsewhere, 64 cores'
    file.write_text(json.dumps(score))
    output = run('table-1', '--cells', 'source only', 'BN')[1]
    assert 'The cells were made on 2 machines: elsewhere, 64 cores;' in output


def test_a_row_that_fails_does_not_stop_the_others(run, tmp_path):
    status, output, called = run('fails')
    assert status == 1
    assert 'error: These failed, see above: tiny_wrong, seed 0' in output
    assert '| source only | ' in (tmp_path / 'W/fails_tiny.md').read_text()


def test_curve_and_picture(run, tmp_path):
    assert run('fig-1', '--seeds', '3')[0] == 0
    lines = read(tmp_path / 'W/fig-1_tiny.json')['lines']
    assert [line['x'] for line in lines] == [0.1, 1.0]
    assert cv2.imread(str(tmp_path / 'W/fig-1_tiny.png')) is not None
    status, output, called = run('picture', '--seeds', '3')
    assert (status, called) == (0, ['rank_list.py'])
    picture = tmp_path / 'W/tiny/seed_3/pretrain_rank_list.png'
    assert cv2.imread(str(picture)) is not None and str(picture) in output


def test_another_method_goes_on(run, tmp_path):
    # A setting of MAR's head says nothing to it.
    options = ('--seeds', '3', '--cfg-options', 'model.head.scale=20')
    status, output, called = run('other-method', *options)
    assert status == 0, output
    trains = [c for c in run.commands if c[0].endswith('train.py')]
    assert [' '.join(c).count('model.head.scale') for c in trains] == [1, 0]
    start = tmp_path / 'W/tiny/seed_3/pretrain/stage_pretrain.pth'
    assert f'load_from={start}' in trains[1]
    assert called[-1] == 'plot_pseudo_labels.py'
    lines = read(tmp_path / 'W/other-method_tiny.json')['lines']
    assert lines[1]['trained'].endswith(', cluster 4')
    assert lines[1]['trained'].startswith(lines[0]['trained'])
    folder = tmp_path / 'W/tiny_clusters/seed_3'
    picture = folder / 'cluster_plot_pseudo_labels.png'
    assert cv2.imread(str(picture)) is not None
    before, after = (
        torch.load(file)['state_dict']
        for file in (start, folder / 'cluster/stage_cluster.pth')
    )
    key = 'backbone.conv1.weight'
    assert not torch.equal(before[key], after[key])


def test_controls_that_train_nothing(run, tmp_path):
    status, output, called = run('nothing', '--seeds', '3')
    assert status == 0
    assert sorted(called) == ['adapt_bn.py', 'test.py', 'test.py']
    scores = tmp_path / 'W/tiny/seed_3'
    before, after = (
        read(scores / f'{name}.json') for name in ('untrained', 'untrained_bn')
    )
    assert before['mAP'] != after['mAP']
    # The same random weights, with other statistics.
    states = torch.load(scores / 'untrained_bn.pth')['state_dict']
    set_random_seed(3)
    model = init_model(read_config(str(tmp_path / 'method/tiny.py')))
    weights = model.state_dict()
    for key, value in states.items():
        moved = 'running' in key or key.endswith('batches_tracked')
        moved |= key == 'miner.threshold'  # none yet
        assert moved or torch.equal(weights[key], value), key


@pytest.mark.parametrize(
    'name, arguments, message',
    [
        ('tabel-1', (), "has no experiment 'tabel-1'; it has table-1"),
        ('table-1', ('--config', 'big'), "not made for the config 'big'"),
        ('table-1', ('--cells', 'M*', 'L*'), "has no cell 'L*'; it has sou"),
        ('misspelt', (), "A cell of 'misspelt' in"),
        ('no-row', (), "has no row 'tiny_wo_mld'; it has tiny_wo_mdl"),
        ('lost', (), "says after='nowhere', which is no stage of tiny"),
        ('table-1', ('--val',), "--val: '"),
        ('table-1', ('--smoke',), "--smoke: the data of 'tiny' are not drawn"),
        (
            'table-1',
            (
                '--cfg-options',
                'test_dataloader.dataset.data_root=/nowhere',
            ),
            "data_root '/nowhere' of",
        ),
        (  # Though nobody asks how many images it has.
            'table-1',
            (
                '--cfg-options',
                'train_dataloader.dataset.source.data_root=/nowhere',
                'train_cfg.stages.pretrain.epoch_length=2',
                'train_cfg.stages.main.epoch_length=2',
            ),
            "data_root '/nowhere' of",
        ),
    ],
)
def test_bad_input(run, name, arguments, message):
    status, output, called = run(name, *arguments)
    assert (status, called) == (1, [])
    assert output.count('error: ') == 1
    assert message in output


def test_iterations_of_a_random_split(tmp_path):
    """An epoch passes over the training half; a source is all of it."""
    from mmengine.config import Config

    from mmreid.synthetic import write_viper

    write_viper(str(tmp_path / 'viper'), num_ids=9)
    iterations = runpy.run_path(TOOL)['iterations']
    viper = dict(type='VIPeR', data_root=str(tmp_path / 'viper'))
    for domain, images in (('target', 8), ('source', 18)):
        stage = dict(batch_size={domain: 2}, max_epochs=5)
        cfg = Config(
            dict(
                train_dataloader=dict(dataset={domain: viper}),
                train_cfg=dict(stages=dict(only=stage)),
            )
        )
        assert iterations(cfg, 'only') == 5 * images // 2


@pytest.mark.parametrize('name', ['nothing/table-1', 'table-1', 'mar'])
def test_no_method(name, run_main, capsys):
    assert run_main(TOOL, name) == 1
    assert 'must be METHOD/EXPERIMENT' in capsys.readouterr().err


def test_random_splits(method, tmp_path, run_main, monkeypatch, capsys):
    """A stage that reads the target is trained anew for each split."""
    commands = []

    class Call:
        returncode = 0

        def __init__(self, command, **streams):
            if command[0] != sys.executable:
                raise OSError('no git')
            commands.append(command[1:])
            if '--work-dir' in command:
                folder = command[command.index('--work-dir') + 1]
                os.makedirs(folder, exist_ok=True)
                if '--out' in command:
                    file = command[command.index('--out') + 1]
                    with open(file, 'w') as file:
                        json.dump({'rank-1': 56.78}, file)
                elif 'train.py' in command[1]:
                    stage = osp.basename(folder)
                    open(f'{folder}/stage_{stage}.pth', 'w').close()
                else:
                    score = {'rank-1': dict(mean=12.34, std=1.26)}
                    score = dict(metrics=score)
                    with open(f'{folder}/results.json', 'w') as file:
                        json.dump(score, file)

        def poll(self):
            return 0

    monkeypatch.setattr(subprocess, 'Popen', Call)
    text = (method / 'tiny.py').read_text()
    text += (
        "\ntest_dataloader['dataset'] = dict(type='VIPeR', "
        "data_root='viper', pipeline=[])\n"
    )
    (method / 'tiny.py').write_text(text)
    from mmreid.synthetic import write_viper

    monkeypatch.chdir(tmp_path)
    write_viper('viper', num_ids=4)
    where = ('--work-dir', tmp_path / 'W')
    assert run_main(TOOL, f'{method}/table-1', *where) == 0
    called = [osp.basename(command[0]) for command in commands]
    assert called == ['train.py'] + ['run_splits.py'] * 5
    how = [{'--no-adapt', '--adapt-bn'} & set(command) for command in commands]
    bn = {'--adapt-bn'}
    assert how[1:] == [{'--no-adapt'}, bn, bn, set(), set()]
    less = 'test_evaluator.camera_mean=train'
    assert [less in command for command in commands[1:]].index(True) == 2
    pretrained = str(tmp_path / 'W/tiny/seed_0/pretrain/stage_pretrain.pth')
    assert all(command[2] == pretrained for command in commands[1:])
    lines = read(tmp_path / 'W/table-1_tiny.json')['lines']
    assert [line['mean'] for line in lines] == [{'rank-1': 12.34}] * 5
    assert {line['dataset'] for line in lines} == {'VIPeR'}
    text = (tmp_path / 'W/table-1_tiny.md').read_text()
    assert 'deviation over the random splits' in text
    assert '| MAR | 12.3 ± 1.3 (12.3) | - |' in text
    # The last stage reads the target: no one model has all splits'.
    for name in ('drawn', 'adapted'):
        assert run_main(TOOL, f'{method}/{name}', *where) == 1
        assert "'main' anew for each random split" in capsys.readouterr().err
    commands.clear()
    assert run_main(TOOL, f'{method}/whole', *where) == 0
    (command,) = commands
    assert osp.basename(command[0]) == 'test.py' and 'a.root=x/y' in command
    name = 'pretrain_whole_root-y_type-CUHK01.json'
    assert read(tmp_path / 'W/tiny/seed_0' / name) == {'rank-1': 56.78}
    (line,) = read(tmp_path / 'W/whole_tiny.json')['lines']
    assert line['dataset'] == 'CUHK01'


def test_asked_to_stop_it_waits_for_what_saves(method, tmp_path):
    """Ctrl-C in a terminal, which its whole process group gets."""
    process = subprocess.Popen(
        [sys.executable, TOOL, f'{method}/table-1', '--cells', 'source only']
        + ['--work-dir', str(tmp_path / 'W'), '--cfg-options']
        + ['train_cfg.stages.pretrain.max_epochs=500'],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=dict(os.environ, OMP_NUM_THREADS='1'),
    )
    trained = tmp_path / 'W/tiny/seed_0/pretrain'
    while not list(trained.glob('iter_*.pth')) and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    output = process.stdout.read()
    assert process.wait() == 75, output
    # Told once: a second signal would end it without saving.
    assert 'SIGTERM: saves' in output and 'SIGINT' not in output
    assert 'run the same command to go on' in output
    assert (trained / 'interrupted.pth').exists()


def test_pictures_alone_get_the_files_that_are_theirs():
    scope = runpy.run_path(TOOL, run_name='reproduce')
    args = SimpleNamespace(work_dir='W', drawing_seed=4, smoke=True, list=True)
    folder = osp.join(tiny_mar.ROOT, 'configs', 'tj_aidl')
    experiment = scope['load_experiment'](folder, 'fig-3', 'tj_aidl_demo')
    everywhere, pictures = scope['draw'](experiment, args)
    key = 'test_dataloader.dataset.attribute_file'
    assert pictures == [
        f'{key}=W/embedded_4_smoke/Market-1501-v15.09.15/market_attribute.mat'
    ]
    assert 'target.data_root=W/embedded_4_smoke' in everywhere
    assert not any(option.startswith(key) for option in everywhere)


@pytest.mark.parametrize('content', ['[]', 'no JSON', '{"lines": []}'])
def test_a_wrong_record_is_refused_before_training(run, tmp_path, content):
    record = tmp_path / 'record.json'
    record.write_text(content)
    status, output, called = run('table-1', '--record', record)
    assert status == 1 and "--record: '" in output
    assert not called
    assert record.read_text() == content


def test_a_seed_counts_once(run):
    status, output, called = run('table-1', '--seeds', '1', '1')
    assert status == 1 and '--seeds names 1 more than once' in output
    assert not called

import gc
import itertools
import json
import os.path as osp
import re
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_mar
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmreid.models import BaseReID
from mmreid.registry import HOOKS, MODELS
from mmreid.synthetic import write_prid, write_viper

TOOL = osp.join(tiny_mar.ROOT, 'tools', 'run_splits.py')
PREPROCESSOR = dict(
    type='ReIDDataPreprocessor', mean=(120, 120, 120), std=(60, 60, 60)
)
models = weakref.WeakSet()


@MODELS.register_module(force=True)
class TinyBackbone(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(12, 4)

    def forward(self, inputs):
        pooled = torch.nn.functional.adaptive_avg_pool2d(inputs, (2, 2))
        return self.linear(pooled.flatten(1))


@MODELS.register_module(force=True)
class TinyAdapter(BaseReID):
    """A feature that training moves; 'adapt' sees the target only."""

    stages = dict(joint=dict(source=['person_id']), adapt=dict(target=[]))
    follows = dict(adapt=['joint'])

    def __init__(self, **kwargs):
        super().__init__(
            backbone=dict(type='TinyBackbone'),
            data_preprocessor=PREPROCESSOR,
            **kwargs,
        )
        models.add(self)

    def loss(self, batch, info):
        if info.stage == 'adapt':
            assert set(batch['person_id'].tolist()) == {-1}
        features = self.extract_feat(batch['inputs'])
        # Batch statistics: the outcome depends on who is in the batch.
        return dict(loss=features.std(0).sub(1).square().sum())


@MODELS.register_module(force=True)
class TinyNormed(TinyAdapter):
    """It has a batch norm."""

    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Sequential(
            self.backbone, torch.nn.BatchNorm1d(4)
        )


@HOOKS.register_module(force=True)
class NoteHook(Hook):
    """Notes what is trained; ends the run where it is told to.

    Args:
        file (str): A line ``folder iteration`` for each iteration.
        kill (tuple, optional): Folder and iteration.
    """

    def __init__(self, file, kill=None):
        self.file, self.kill = file, kill

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        here = (osp.basename(runner.work_dir), batch_idx)
        if self.kill and here == tuple(self.kill):
            raise tiny_mar.Killed
        with open(self.file, 'a') as file:
            file.write('{} {}\n'.format(*here))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Tiny source, VIPeR, PRID and a checkpoint; read only."""
    root = str(tmp_path_factory.mktemp('data'))
    train = 'bounding_box_train'
    tiny_mar.write_part(f'{root}/source/{train}', range(1, 5), 2, 1, 0)
    write_viper(root, num_ids=15, size=(16, 32))
    write_prid(root, num_view_a=6, num_view_b=8, size=(16, 32))
    torch.manual_seed(0)
    model = MODELS.build(dict(type='TinyAdapter'))
    checkpoint = f'{root}/stage_joint.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    return SimpleNamespace(
        root=root, checkpoint=checkpoint, weights=model.state_dict()
    )


@pytest.fixture
def config(data, tmp_path):
    """Write a config with 3 iterations of 'joint' and 4 of 'adapt'."""

    def write(target='VIPeR', source='source', **changes):
        cfg = tiny_mar.tiny_config(data.root, 'not_here')
        root = {'VIPeR': 'VIPeR', 'PRID2011': 'prid_2011'}.get(target, source)
        for part in (
            cfg.train_dataloader.dataset.target,
            cfg.test_dataloader.dataset,
        ):
            part.type, part.data_root = target, f'{data.root}/{root}'
            part.serialize_data = False
        cfg.model = dict(type='TinyAdapter')
        cfg.train_cfg = dict(
            type='StagedTrainLoop',
            order=['joint', 'adapt'],
            stages=dict(
                joint=dict(batch_size=dict(source=4), max_iters=3),
                adapt=dict(batch_size=dict(target=4), max_iters=4),
            ),
        )
        cfg.default_hooks.pop('pair_mining')
        notes = dict(type='NoteHook', file=str(tmp_path / 'notes'))
        cfg.custom_hooks = [notes]
        cfg.merge_from_dict(
            {key.replace('__', '.'): value for key, value in changes.items()}
        )
        file = str(tmp_path / 'tiny.py')
        cfg.dump(file)
        return file

    return write


@pytest.fixture
def run(data, tmp_path, run_main, capsys):
    """Run the tool with 2 splits, in this process."""

    def run(config, *arguments, work_dir='W', checkpoint=data.checkpoint):
        (tmp_path / 'notes').write_text('')
        # As a new process: MMEngine keeps these by name and second.
        for cls in (DefaultScope, MessageHub, MMLogger, Visualizer):
            cls._instance_dict.clear()
        folder = tmp_path / work_dir
        status = run_main(
            TOOL,
            config,
            *([checkpoint] if checkpoint else []),
            *('--work-dir', folder, '--splits', '2'),
            *arguments,
        )
        streams = capsys.readouterr()
        notes = [
            line.split() for line in (tmp_path / 'notes').open().readlines()
        ]
        return SimpleNamespace(
            folder=folder,
            status=status,
            out=streams.out,
            errors=re.findall('^error: .*', streams.err, re.M),
            trained={
                split: [int(line[1]) for line in lines]
                for split, lines in itertools.groupby(notes, lambda n: n[0])
            },
        )

    return run


def read(path):
    content = json.loads(path.read_text())
    # It names folders.
    content.pop('provenance', None)
    return content


def metrics_of(result):
    return [read(result.folder / f'split_{i}/metrics.json') for i in range(2)]


def test_adapts_each_split_anew(config, run, data):
    result = run(config(), '--seed', '3')
    assert (result.status, result.errors) == (0, [])
    # From 'adapt' on, both splits.
    assert result.trained == {
        'split_0': [3, 4, 5, 6], 'split_1': [3, 4, 5, 6]
    }  # fmt: skip
    splits = read(result.folder / 'splits.json')
    assert splits['counts'] == dict(persons=15, train=14, query=8, gallery=8)
    # Nothing of the other split: this one alone gives the same weights.
    alone = run(config(), '--seed', '3', work_dir='alone')
    for index in range(2):
        ours, theirs = (
            torch.load(folder / f'split_{index}/stage_adapt.pth')
            for folder in (result.folder, alone.folder)
        )
        tiny_mar.assert_same(ours['state_dict'], theirs['state_dict'])
        assert not torch.equal(
            ours['state_dict']['backbone.linear.weight'],
            data.weights['backbone.linear.weight'],
        )
    assert len({str(m) for m in metrics_of(result)}) == 2

    results = read(result.folder / 'results.json')
    assert results['protocol'] == 'adapted anew per split'
    assert (results['num_splits'], results['split_seed']) == (2, 0)
    assert (results['dataset'], results['seed']) == ('viper', 3)
    assert 'viper, adapted anew per split: mean and' in result.out
    assert '(ddof=1) over 2 random splits (seed 0)' in result.out
    for name in ('rank-1', 'mAP'):
        first, second = (metrics[name] for metrics in metrics_of(result))
        got = results['metrics'][name]
        assert got['splits'] == [first, second]
        assert got['mean'] == pytest.approx((first + second) / 2)
        assert got['std'] == pytest.approx(abs(first - second) / 2**0.5)
        row = re.search(rf'^{name} +([\d.]+) +([\d.]+)$', result.out, re.M)
        assert row.groups() == (f'{got["mean"]:.2f}', f'{got["std"]:.2f}')
    text = json.dumps(results)
    assert data.root not in text and str(result.folder) not in text


def test_trains_the_source_stages_once(config, run, tmp_path):
    result = run(config(), checkpoint=None)
    assert (result.status, result.errors) == (0, [])
    adapt = [3, 4, 5, 6]
    assert result.trained == dict(
        source=[0, 1, 2], split_0=adapt, split_1=adapt
    )
    # What a checkpoint gives that comes from elsewhere.
    source = result.folder / 'source/stage_joint.pth'
    same = run(config(), checkpoint=str(source), work_dir='V')
    assert same.trained == dict(split_0=adapt, split_1=adapt)
    assert metrics_of(same) == metrics_of(result)
    # Tested without adaptation, in the same folder's source.
    (result.folder / 'source').rename(tmp_path / 'source')
    (tmp_path / 'U').mkdir()
    (tmp_path / 'source').rename(tmp_path / 'U/source')
    direct = run(config(), '--no-adapt', checkpoint=None, work_dir='U')
    assert direct.status == 0 and direct.trained == {}
    assert read(direct.folder / 'results.json')['protocol'] == 'not adapted'


def test_resumes_the_source_stages(config, run, tmp_path):
    kill = dict(type='NoteHook', file=str(tmp_path / 'notes'))
    hooks = dict(
        default_hooks__checkpoint=dict(
            type='CheckpointHook', by_epoch=False, interval=1
        )
    )
    killed = config(custom_hooks=[dict(kill, kill=('source', 2))], **hooks)
    with pytest.raises(tiny_mar.Killed):
        run(killed, checkpoint=None)
    result = run(config(**hooks), checkpoint=None)
    assert result.trained['source'] == [2]


def test_trains_and_tests_on_its_half(config, run, tmp_path):
    log = str(tmp_path / 'paths')
    train, test = log + '_train', log + '_test'
    file = config('PRID2011')
    cfg = tiny_mar.Config.fromfile(file)
    for file_of, part in (
        (train, cfg.train_dataloader.dataset),
        (test, cfg.test_dataloader.dataset),
    ):
        part.pipeline = [dict(type='LogPath', file=file_of), *part.pipeline]
    # It would read the training images, too.
    cfg.default_hooks.neighbour_report.domain = None
    cfg.dump(file)
    result = run(file)
    assert result.status == 0
    splits = read(result.folder / 'splits.json')
    assert splits['counts'] == dict(persons=6, train=6, query=3, gallery=5)

    def seen(file):
        lines = open(file).read().split()
        return ['/'.join(path.split('/')[-2:]) for path in lines]

    # 4 iterations of 4 images; 3 queries and 5 gallery images.
    trained, tested = seen(train), seen(test)
    assert (len(trained), len(tested)) == (2 * 16, 2 * 8)
    for index, split in enumerate(splits['splits']):
        assert set(trained[16 * index : 16 * index + 16]) == set(
            split['train']
        )
        assert set(tested[8 * index : 8 * index + 8]) == set(
            split['query'] + split['gallery']
        )


def test_goes_on_after_a_kill(config, run, tmp_path):
    whole = run(config(), work_dir='whole')
    notes = dict(type='NoteHook', file=str(tmp_path / 'notes'))
    killing = config(custom_hooks=[dict(notes, kill=('split_1', 6))])
    with pytest.raises(tiny_mar.Killed):
        run(killing)
    cut = tmp_path / 'W'
    assert (cut / 'split_0/metrics.json').exists()
    assert not (cut / 'split_1/metrics.json').exists()
    # Wherever it is by now: the last checkpoint is found by its name.
    moved = cut.rename(tmp_path / 'moved')
    result = run(config(), work_dir='moved')
    # Checkpoints are written every second iteration.
    assert (result.errors, result.trained) == ([], {'split_1': [6]})
    assert metrics_of(result) == metrics_of(whole)
    assert read(moved / 'results.json') == read(whole.folder / 'results.json')
    ours, theirs = (
        torch.load(folder / 'split_1/stage_adapt.pth')
        for folder in (moved, whole.folder)
    )
    tiny_mar.assert_same(ours['state_dict'], theirs['state_dict'])

    # All finished: only the table.
    again = run(config(), work_dir='moved')
    assert again.trained == {} and again.status == 0
    assert read(moved / 'results.json') == read(whole.folder / 'results.json')


def test_begins_anew_without_a_checkpoint(config, run, tmp_path):
    notes = dict(type='NoteHook', file=str(tmp_path / 'notes'))
    with pytest.raises(tiny_mar.Killed):
        run(config(custom_hooks=[dict(notes, kill=('split_0', 3))]))
    assert run(config()).trained == {
        'split_0': [3, 4, 5, 6], 'split_1': [3, 4, 5, 6]
    }  # fmt: skip


def test_without_adapting(config, run, data):
    # Neither the stage nor the training data are needed.
    file = config(
        train_cfg__order=['joint'],
        train_dataloader__dataset__source__data_root='/nowhere',
    )
    cfg = tiny_mar.Config.fromfile(file)
    cfg.train_cfg.stages.pop('adapt')
    cfg.dump(file)
    result = run(file, '--no-adapt')
    assert (result.status, result.trained) == (0, {})
    assert 'viper, not adapted: mean and' in result.out
    assert read(result.folder / 'results.json')['protocol'] == 'not adapted'
    # The checkpoint's features, ranked by hand on split 1.
    split = read(result.folder / 'splits.json')['splits'][1]
    model = MODELS.build(dict(type='TinyAdapter'))
    model.load_state_dict(data.weights)

    def features(part):
        images = [
            torch.from_numpy(
                tiny_mar.cv2.imread(f'{data.root}/VIPeR/{path}')
            ).permute(2, 0, 1)
            for path in split[part]
        ]
        batch = dict(inputs=torch.stack(images), data_samples={})
        batch = model.data_preprocessor(batch)
        with torch.no_grad():
            return torch.nn.functional.normalize(model(batch['inputs']))

    similarity = features('query') @ features('gallery').T
    rank1 = (similarity.argmax(1) == torch.arange(8)).double().mean() * 100
    assert metrics_of(result)[1]['rank-1'] == pytest.approx(float(rank1))


def test_batch_norms_of_each_split(config, run, monkeypatch):
    estimate, seen = torch.nn.BatchNorm1d.forward, []

    def forward(norm, inputs):
        if norm.training:
            seen.append(len(inputs))
        return estimate(norm, inputs)

    monkeypatch.setattr(torch.nn.BatchNorm1d, 'forward', forward)
    file = config(model__type='TinyNormed')
    options = dict(checkpoint='none', work_dir='BN')
    result = run(file, '--adapt-bn', **options)
    assert (result.status, result.trained) == (0, {})
    # All images of the training half of each of two splits, 14 persons.
    assert seen == [14, 14]
    found = read(result.folder / 'results.json')
    assert found['protocol'] == 'batch norms of each split'
    direct = run(file, '--no-adapt', checkpoint='none', work_dir='direct')
    assert direct.status == 0
    assert metrics_of(direct) != metrics_of(result)
    assert run(file, '--no-adapt', **options).errors


def test_a_single_split_has_no_deviation(config, run):
    result = run(config(), '--no-adapt', '--splits', '1')
    values = read(result.folder / 'results.json')['metrics']['rank-1']
    assert values['std'] is None and len(values['splits']) == 1
    assert re.search(r'^rank-1 +[\d.]+ +-$', result.out, re.M)


def test_holds_one_model_at_a_time(config, run):
    gc.collect()
    before = len(models)
    run(config())
    gc.collect()
    assert len(models) == before


CHANGED = 'dataset.pipeline.0.max_pixels=9999'


def test_a_work_dir_is_for_one_run(config, run):
    """Or finished splits of another protocol would pass for this one's."""
    file = config()
    assert run(file).status == 0
    for message, second in {
        'settings.json.*: protocol differ': ['--no-adapt'],
        'settings.json.*: seed differ': ['--seed', '5'],
        'settings.json.*: model differ': ['--amp'],
        'splits.json.*: seed, splits differ': ['--split-seed', '1'],
        'splits.json.*: splits differ': ['--splits', '1'],
        'settings.json.*: train_cfg differ': [
            *('--cfg-options', 'train_cfg.stages.adapt.max_iters=5')
        ],
        'settings.json.*: train_dataset differ': [
            *(
                '--cfg-options',
                'train_dataloader.dataset.pipeline.0.max_pixels=9999',
            )
        ],
        'settings.json.*: test_dataset differ': [
            *(
                '--cfg-options',
                'test_dataloader.dataset.pipeline.0.max_pixels=9999',
            )
        ],
        'settings.json.*: test_evaluator differ': [
            *('--cfg-options', 'test_evaluator.metric=euclidean')
        ],
    }.items():
        result = run(file, *second)
        assert result.status == 1 and len(result.errors) == 1
        assert re.search(message, result.errors[0])
        assert 'Name another --work-dir' in result.errors[0]


def test_source_weights_are_those_of_the_config(config, run, data, tmp_path):
    """Or a short trial's would pass for them."""
    file = config()
    first = run(file, checkpoint=None)
    for name, option in dict(
        train_cfg='train_cfg.stages.joint.max_iters=1',
        optim_wrapper='optim_wrapper.optimizer.lr=0.1',
        model='model.amp=True',
        seed='randomness.seed=5',
        checkpoint_sha256=f'load_from={data.checkpoint}',
        train_dataset='train_dataloader.dataset.pipeline.0.max_pixels=9999',
    ).items():
        result = run(file, '--cfg-options', option, checkpoint=None)
        (error,) = result.errors
        assert "source/settings.json' was written by a run with" in error
        assert f': {name} differ. Name another --work-dir' in error
        assert result.trained == {}
    source = 'train_dataloader__dataset__source__data_root'
    other = config(**{source: f'{data.root}/other'})
    assert 'train_dataset differ' in run(other, checkpoint=None).errors[0]
    # Neither what follows the source stages nor where the data lie matters.
    (tmp_path / 'moved').symlink_to(data.root)
    moved = config(
        train_cfg__stages__adapt__max_iters=2,
        **{source: str(tmp_path / 'moved/source')},
    )
    (tmp_path / 'V').mkdir()
    (first.folder / 'source').rename(tmp_path / 'V/source')
    result = run(moved, checkpoint=None, work_dir='V')
    assert (result.status, result.errors) == (0, [])
    assert result.trained == dict(split_0=[3, 4], split_1=[3, 4])


def test_another_checkpoint(config, run, data, tmp_path):
    assert run(config(), '--no-adapt').status == 0
    other = str(tmp_path / 'other.pth')
    torch.save(dict(state_dict=data.weights, meta=dict(other=1)), other)
    (error,) = run(config(), '--no-adapt', checkpoint=other).errors
    assert 'checkpoint_sha256 differ' in error


def test_single_and_multi_shot(config, run, tmp_path):
    """CUHK01: two protocols, whose results are told apart."""
    campus = tmp_path / 'campus'
    campus.mkdir()
    for name in itertools.product(range(1, 6), range(1, 5)):
        image = np.full((32, 16, 3), 50 * name[0] + name[1], np.uint8)
        tiny_mar.cv2.imwrite(str(campus / '{:04d}{:03d}.png'.format(*name)),
                             image)  # fmt: skip
    roots = dict(
        test_dataloader__dataset__data_root=str(campus),
        train_dataloader__dataset__target__data_root=str(campus),
    )
    file = config('CUHK01', **roots)
    for shots, images in dict(single=3, multi=6).items():
        options = ['--cfg-options', f'test_dataloader.dataset.shots={shots}']
        result = run(file, *options, work_dir=shots)
        assert (result.status, result.errors) == (0, [])
        assert f'cuhk01, {shots}-shot, adapted anew per split' in result.out
        assert read(result.folder / 'results.json')['shots'] == shots
        counts = read(result.folder / 'splits.json')['counts']
        assert counts == dict(persons=5, train=8, query=images, gallery=images)
    (error,) = run(file, work_dir='multi').errors
    assert re.search('splits.json.*: shots, rule, counts, splits', error)


def test_bad_input(config, run, data):
    def error(file, *arguments, **kwargs):
        result = run(file, *arguments, **kwargs)
        assert result.status == 1 and not (result.folder / 'split_0').exists()
        (line,) = result.errors
        return line

    has_none = 'is Market1501, which has no random splits.*PRID2011 or CUHK01'
    assert re.search(
        f'test_dataloader.dataset {has_none}', error(config('Market1501'))
    )
    mixed = config(train_dataloader__dataset__target__type='Market1501')
    assert re.search(
        f'train_dataloader.dataset.target {has_none}', error(mixed)
    )
    lacking = config(train_dataloader__dataset__target=None)
    assert 'target is None' in error(lacking)
    assert "checkpoint 'no.pth' does not exist" in error(
        config(), checkpoint='no.pth'
    )
    renamed = config(train_cfg__order=['joint', 'main'])
    assert re.search(
        'has no stage in .* that reads the target', error(renamed)
    )
    assert 'num_splits must be 1 or more' in error(config(), '--splits', '0')
    nowhere = config(test_dataloader__dataset__data_root='/nowhere')
    assert "data_root '/nowhere' of VIPeR is no folder" in error(nowhere)


def test_deviation_of_more_splits(config, run):
    """Of the sample, not of the population."""
    result = run(config(), '--no-adapt', '--splits', '4')
    for values in read(result.folder / 'results.json')['metrics'].values():
        spread = np.array(values['splits']) - np.mean(values['splits'])
        assert values['std'] == pytest.approx((spread @ spread / 3) ** 0.5)
    assert (result.folder / 'results.json').exists()

import json
import random
from pathlib import Path

import pytest
import tiny_mar
import torch
from mmengine.runner import Runner
from test_no_label_leak import write_manifest
from tiny_mar import NUM_TARGETS, RecordHook, hook_of, run_two, train

from mmreid.apis import dry_run
from mmreid.errors import InputError
from mmreid.models import ClusterReID, InterCameraLoss, JaccardDBSCAN
from mmreid.models.algorithms import cluster_base

# Three epochs of four iterations.
EPOCH, END = 4, 12
PLAIN = dict(type='JaccardDBSCAN', eps=0.6, min_samples=2, k1=4, k2=2)
AWARE = dict(
    type='JaccardDBSCAN',
    eps=0.6,
    min_samples=2,
    camera_aware=True,
    k1_intra=2,
    k1_inter=3,
    k2_intra=1,
    k2_inter=2,
)
# Three images of a person are of three cameras.
PROXIES = dict(
    model__type='CameraProxies',
    model__inter_epoch=1,
    train_cfg__stages__cluster__sampler=dict(
        target=dict(type='IdentitySampler', num_instances=2)
    ),
)

SPCL = dict(
    model__type='SpCL',
    model__clusterer=dict(
        _delete_=True, **(PLAIN | dict(type='SelfPacedDBSCAN', gap=0.1))
    ),
    train_cfg__stages__cluster__batch_size=dict(source=8, target=8),
    train_cfg__stages__cluster__sampler=dict(
        target=dict(type='IdentitySampler', num_instances=4, repeat=False)
    ),
)
METHODS = dict(
    argvalues=[{}, PROXIES, SPCL], ids=['clusters', 'proxies', 'spcl']
)


@pytest.fixture
def config(benchmark, tmp_path):
    def config(work_dir='run', **changes):
        cfg = tiny_mar.tiny_config(benchmark, str(tmp_path / work_dir))
        del cfg.default_hooks['pair_mining']
        cfg.default_hooks.pseudo_labels = dict(
            type='PseudoLabelHook', quality=True
        )
        cfg.custom_imports = dict(imports=['tiny_mar'])
        if changes.get('model__type') != 'SpCL':
            cfg.train_dataloader.dataset.source = None
        cfg.train_cfg.order = ['cluster']
        cfg.train_cfg.stages = dict(
            cluster=dict(
                batch_size=dict(target=8),
                sampler=dict(
                    target=dict(type='IdentitySampler', num_instances=4)
                ),
                epoch_length=EPOCH,
                max_epochs=3,
            )
        )
        cfg.default_hooks.checkpoint.interval = 3
        cfg.model = dict(
            type='ClusterContrast',
            data_preprocessor=cfg.model.data_preprocessor,
            backbone=cfg.model.backbone,
            clusterer=PLAIN,
        )
        cfg.merge_from_dict(
            {key.replace('__', '.'): value for key, value in changes.items()}
        )
        return cfg

    return config


def last_states(work_dir):
    checkpoint = torch.load(f'{work_dir}/iter_{END}.pth', weights_only=True)
    return {
        key: checkpoint[key]
        for key in ('state_dict', 'optimizer', 'param_schedulers')
    }


@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        dict(model__camera_mean=True),
        dict(model__clusterer=dict(_delete_=True, **AWARE)),
        dict(
            model__clusterer=dict(_delete_=True, type='KMeans', num_clusters=5)
        ),
        dict(model__bn_neck=None),
        PROXIES,
        SPCL,
        SPCL | dict(model__camera_mean=True),
    ],
    ids=[
        *('plain', 'camera-mean', 'camera-aware', 'k-means', 'no-neck'),
        *('proxies', 'spcl', 'spcl-camera-mean'),
    ],
)
def test_trains_and_is_tested(config, changes):
    record = dict(type='RecordHook')
    runner = train(config(custom_hooks=[record], **changes))
    scalars = runner.message_hub.log_scalars
    assert 2 <= scalars['train/clusters'].current() <= NUM_TARGETS / 2
    assert 0 < scalars['train/cluster_purity'].current() <= 100
    assert 0 < scalars['train/pair_f1'].current() <= 100
    # As the last clustering has them, not a mean over the epochs.
    with open(f'{runner.log_dir}/vis_data/scalars.json') as file:
        line = [
            line for line in map(json.loads, file) if 'cluster_purity' in line
        ][-1]
    for key in ('clusters', 'cluster_purity', 'pair_f1'):
        assert line[key] == scalars[f'train/{key}'].current()
    labels = runner.model.sampling_labels('target')
    sampler = runner.train_loop.stage.sampler['target']
    _, last = hook_of(runner, RecordHook).samples[END - 1]
    drawn = labels[torch.tensor(last)]
    # Clusters, or proxies, of as many images, none of them an outlier.
    if sampler.get('repeat', True):
        drawn = drawn.view(-1, sampler['num_instances'])
        assert (drawn == drawn[:, :1]).all()
    assert (drawn >= 0).all()
    found = runner.test()
    # A test reads no training data, so it has no room for labels and memory.
    cfg = config(
        'test', load_from=f'{runner.work_dir}/stage_cluster.pth', **changes
    )
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        cfg.pop(key)
    assert Runner.from_cfg(cfg).test() == found
    assert 0 < found['mAP'] <= 100


@pytest.mark.parametrize('changes', **METHODS)
@pytest.mark.parametrize('at', [3, 6, 8, 10])
def test_resumed_run_equals_whole_run(config, at, changes):
    whole = train(config('whole', **changes))
    kill = dict(type='KillHook', event='after_train_iter', at=at)
    with pytest.raises(tiny_mar.Killed):
        train(config(custom_hooks=[kill], **changes))
    resumed = train(config(resume=True, **changes))
    tiny_mar.assert_same(
        last_states(resumed.work_dir), last_states(whole.work_dir)
    )


@pytest.mark.parametrize('changes', **METHODS)
def test_killed_process(config, changes):
    """In the middle of an epoch, between two checkpoints."""
    whole = train(config('whole', **changes))
    kill = dict(type='KillHook', event='after_train_iter', at=7, hard=True)
    tiny_mar.train_killed(config(custom_hooks=[kill], **changes))
    resumed = train(config(resume=True, **changes))
    tiny_mar.assert_same(
        last_states(resumed.work_dir), last_states(whole.work_dir)
    )


@pytest.mark.parametrize('method', **METHODS)
def test_two_processes(config, tmp_path, method):
    # Batch statistics are those of a process: without them.
    changes = dict(
        method, model__backbone__norm_eval=True, model__bn_neck=None
    )
    config('two', custom_hooks=[dict(type='DumpRankHook')], **changes).dump(
        str(tmp_path / 'tiny.py')
    )
    run_two('dist_train.sh', tmp_path / 'tiny.py', 2)
    first = tiny_mar.state_of_ranks(tmp_path / 'two')
    one = dict(train(config('one', **changes)).model.state_dict())
    assert torch.equal(one['clusters.labels'], first['clusters.labels'])
    tiny_mar.assert_close_states(first, one)


@pytest.mark.parametrize('method', **METHODS)
def test_labels_of_the_target_do_not_leak(config, benchmark, tmp_path, method):
    """Though the log measures the clusters by them."""
    states, purities = [], []
    for name, relabel in (
        ('true', lambda ids: ids),
        ('random', lambda ids: random.Random(0).choices(range(4), k=len(ids))),
    ):
        file = str(tmp_path / f'{name}.csv')
        write_manifest(benchmark, file, relabel)
        target = dict(
            _delete_=True, type='ReIDManifest', ann_file=file, labelled=False
        )
        runner = train(
            config(name, train_dataloader__dataset__target=target, **method)
        )
        states.append(dict(runner.model.state_dict()))
        scalars = runner.message_hub.log_scalars
        purities.append(scalars['train/cluster_purity'].current())
    tiny_mar.assert_same(*states)
    assert purities[0] != purities[1]


def replace_labels(monkeypatch, labels_of):
    """Labels by the number of the clustering, None for the true ones."""
    calls = []
    cluster = JaccardDBSCAN.__call__

    def call(self, images):
        calls.append(len(images))
        labels = labels_of(len(calls) - 1)
        return cluster(self, images) if labels is None else labels

    monkeypatch.setattr(JaccardDBSCAN, '__call__', call)
    return calls


NONE = torch.full((NUM_TARGETS,), -1)
ONE = torch.zeros(NUM_TARGETS, dtype=torch.int64)


# A batch takes images of two clusters.
FEW = dict(train_cfg__stages__cluster__batch_size=dict(target=12))
TWO = ONE.clone()
TWO[: NUM_TARGETS // 2] = 1


@pytest.mark.parametrize(
    'bad, changes',
    [(NONE, {}), (ONE, {}), (TWO, FEW), (ONE, PROXIES)],
    ids=['none', 'one', 'two of three', 'proxies of one'],
)
def test_bad_clustering_leaves_the_labels(config, monkeypatch, bad, changes):
    calls = replace_labels(monkeypatch, lambda call: [None, bad, bad][call])
    seen = []
    prepare = ClusterReID.prepare_epoch

    def note(self, *args):
        prepare(self, *args)
        seen.append(self.clusters.labels.tolist())

    monkeypatch.setattr(ClusterReID, 'prepare_epoch', note)
    runner = train(config(**changes))
    assert calls == [NUM_TARGETS] * 3
    assert seen[0] == seen[1] == seen[2]
    assert runner.iter == END


@pytest.mark.parametrize(
    'bad, number', [(NONE, 0), (ONE, 1)], ids=['none', 'one']
)
def test_bad_first_clustering(config, monkeypatch, bad, number):
    replace_labels(monkeypatch, lambda call: bad)
    message = f'21 target images found {number} clusters, .* images of 2'
    with pytest.raises(ValueError, match=message) as error:
        train(config())
    # Which a batch of one cluster would not mend.
    assert 'lower batch_size' not in str(error.value)


def test_without_clusters_spcl_learns_from_images(config, monkeypatch):
    """Each is one by itself."""
    bad = torch.full((NUM_TARGETS,), -1)
    monkeypatch.setattr(
        JaccardDBSCAN, 'labels_at', lambda self, images, *radii: [bad] * 3
    )
    runner = train(config(**SPCL))
    assert runner.iter == END
    assert runner.model.clusterer.alpha.isnan()
    assert runner.message_hub.log_scalars['train/clusters'].current() == 0


@pytest.mark.parametrize('method', **METHODS)
def test_labels_that_nobody_makes(config, method):
    cfg = config(**method)
    del cfg.default_hooks['pseudo_labels']
    with pytest.raises(ValueError, match='but no image has a label: add'):
        train(cfg)


def test_every_process_knows_an_error_of_the_clusterer(config, monkeypatch):
    """Here the second of two, which hears of it from the first."""

    def hear(values):
        assert values == [None]
        values[0] = InputError('k1 is wrong')

    monkeypatch.setattr(cluster_base, 'is_main_process', lambda: False)
    monkeypatch.setattr(cluster_base, 'broadcast_object_list', hear)
    with pytest.raises(InputError, match='k1 is wrong'):
        train(config())
    monkeypatch.undo()
    with pytest.raises(InputError, match='k1 less than the 21 images'):
        train(config('main', model__clusterer__k1=21))


@pytest.mark.parametrize(
    'batch, instances, message',
    [
        (8, 3, 'draws 3 images .* not divide the 8 images'),
        (8, 0, 'draws 0 images'),
        (1, 1, 'one image of the target domain in a batch'),
    ],
)
def test_batches_are_judged_before_a_clustering(
    config, monkeypatch, batch, instances, message
):
    calls = replace_labels(monkeypatch, lambda call: None)
    sampler = dict(type='IdentitySampler', num_instances=instances)
    changes = dict(
        train_cfg__stages__cluster__batch_size=dict(target=batch),
        train_cfg__stages__cluster__sampler=dict(target=sampler),
    )
    with pytest.raises(InputError, match=message):
        train(config(**changes))
    assert not calls


def test_the_source_is_judged_before_a_clustering(config, monkeypatch):
    monkeypatch.setattr(
        JaccardDBSCAN,
        'labels_at',
        lambda self, images, *radii: pytest.fail('clusters first'),
    )
    cfg = config(**SPCL)
    stage = cfg.train_cfg.stages.cluster
    stage.batch_size.source = 16
    stage.sampler.source = dict(type='IdentitySampler', num_instances=2)
    with pytest.raises(InputError, match='8 identities, but there are only 6'):
        train(cfg)


def test_one_cluster_is_too_few_for_spcl(config, monkeypatch):
    monkeypatch.setattr(
        JaccardDBSCAN, 'labels_at', lambda self, images, *radii: [ONE] * 3
    )
    with pytest.raises(ValueError, match='found 1 clusters, .* images of 2'):
        train(config(**SPCL))


def test_proxies_are_counted_for_a_batch_of_proxies(config, monkeypatch):
    """Two clusters before three cameras are enough for batches of four."""
    calls = replace_labels(monkeypatch, lambda call: TWO)
    model = train(config(**PROXIES)).model
    assert len(calls) == 3
    assert torch.equal(model.clusters.labels, TWO)
    assert model.proxies.labels.max() + 1 >= 4
    replace_labels(monkeypatch, lambda call: TWO)
    batch = dict(train_cfg__stages__cluster__batch_size=dict(target=20))
    message = r'2 clusters \(\d proxies\), .* images of 10 proxies'
    with pytest.raises(ValueError, match=message):
        train(config('large', **PROXIES, **batch))


@pytest.mark.parametrize(
    'batch, message',
    [
        (8, 'takes 8 images of the target domain, which has only 2: add'),
        (2, 'k1 less than the 2 images, got k1=4'),
    ],
)
def test_two_images(config, benchmark, tmp_path, batch, message):
    """A clear error, before anything is trained."""
    folder = tmp_path / 'two'
    folder.mkdir()
    crops = sorted((Path(benchmark) / 'target/bounding_box_train').iterdir())
    for path in crops[:2]:
        (folder / path.name).write_bytes(path.read_bytes())
    target = dict(
        _delete_=True,
        type='ReIDFolder',
        data_root=str(folder),
        labelled=False,
    )
    cfg = config(
        train_dataloader__dataset__target=target,
        train_cfg__stages__cluster__batch_size=dict(target=batch),
        train_cfg__stages__cluster__sampler__target__num_instances=1,
        default_hooks__pseudo_labels__quality=False,
    )
    with pytest.raises(ValueError, match=message):
        train(cfg)


def test_loss_of_other_cameras_begins_later(config):
    runner = train(config(**PROXIES))
    logged = {
        key: runner.message_hub.get_scalar(f'train/{key}')
        for key in ('loss_intra', 'loss_inter')
    }
    assert len(logged['loss_intra'].data[0]) == END
    # From the second epoch on.
    assert len(logged['loss_inter'].data[0]) == END - EPOCH


def test_camera_means_are_subtracted_before_clustering(config, monkeypatch):
    seen = []
    cluster = JaccardDBSCAN.__call__

    def note(self, images):
        seen.append(images)
        return cluster(self, images)

    monkeypatch.setattr(JaccardDBSCAN, '__call__', note)
    for camera_mean in (False, True):
        train(config(model__camera_mean=camera_mean))
    (plain, *_), (less, *_) = seen[:3], seen[3:]
    assert torch.equal(plain.camera_id, less.camera_id)
    for camera in plain.camera_id.unique():
        rows = plain.camera_id == camera
        features = plain.features[rows]
        assert features.mean(0).norm() > 0.1
        torch.testing.assert_close(
            less.features[rows], features - features.mean(0)
        )


def test_fewer_clusters_than_persons_of_a_batch(config):
    cfg = config(
        train_cfg__stages__cluster__batch_size=dict(target=20),
        model__clusterer=dict(_delete_=True, type='KMeans', num_clusters=3),
    )
    with pytest.raises(ValueError, match='found 3 clusters, .* images of 5'):
        train(cfg)


@pytest.mark.parametrize(
    'sampler', [{}, dict(target=dict(type='ShuffleSampler'))]
)
def test_outliers_are_not_to_be_drawn(config, sampler):
    cfg = config()
    cfg.train_cfg.stages.cluster.sampler = sampler
    with pytest.raises(ValueError, match='must draw the target by its clust'):
        train(cfg)


@pytest.fixture
def crops(benchmark, tmp_path):
    """The target's images as crops of one camera."""
    folder = tmp_path / 'crops'
    folder.mkdir()
    train_part = Path(benchmark) / 'target' / 'bounding_box_train'
    for path in train_part.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return dict(
        train_dataloader__dataset__target=dict(
            _delete_=True,
            type='ReIDFolder',
            data_root=str(folder),
            labelled=False,
        ),
        default_hooks__pseudo_labels__quality=False,
    )


def test_with_one_camera_a_cluster_is_one_proxy(config, crops):
    model = train(config(**PROXIES, **crops)).model
    assert torch.equal(model.proxies.labels, model.clusters.labels)
    assert (model.memory.camera == 0).all()


@pytest.mark.parametrize('camera_aware', [False, True])
def test_with_one_camera(config, crops, camera_aware):
    changes = dict(model__camera_mean=True)
    if camera_aware:
        changes['model__clusterer'] = dict(_delete_=True, **AWARE)
    runner = train(config(**changes, **crops))
    assert runner.iter == END


@pytest.mark.parametrize('whole', [True, False], ids=['MAR', 'backbone'])
@pytest.mark.parametrize('neck', ['GlobalPooling', 'GeM'])
def test_starts_from_other_methods(config, benchmark, tmp_path, neck, whole):
    """From MAR's pretraining, whose agents are left out."""
    source = tiny_mar.tiny_config(benchmark, str(tmp_path / 'mar'))
    source.custom_imports = dict(imports=['tiny_mar'])
    source.train_cfg.order = ['pretrain']
    work_dir = train(source).work_dir
    weights = torch.load(f'{work_dir}/stage_pretrain.pth', weights_only=True)[
        'state_dict'
    ]
    path = f'{work_dir}/stage_pretrain.pth'
    if not whole:
        path = str(tmp_path / 'backbone.pth')
        start = 'backbone.'
        torch.save(
            {
                key.removeprefix(start): value
                for key, value in weights.items()
                if key.startswith(start)
            },
            path,
        )
    cfg = config(
        load_from=path,
        model__neck=dict(type=neck),
        train_cfg__stages__cluster__max_epochs=None,
        train_cfg__stages__cluster__max_iters=1,
        optim_wrapper__optimizer__lr=0,
    )
    states = train(cfg).model.state_dict()
    assert states.get('neck.p', 3.0) == 3
    for key, value in weights.items():
        if key.startswith('backbone.') and 'running' not in key:
            if not key.endswith('num_batches_tracked'):
                assert torch.equal(states[key], value), key


def test_quality_of_unknown_persons(config, crops):
    """Refused before anything is clustered."""
    cfg = config(**crops | dict(default_hooks__pseudo_labels__quality=True))
    with pytest.raises(InputError, match='have no identities to compare with'):
        train(cfg)
    assert not list(Path(cfg.work_dir).glob('*.pth'))


def test_dry_run_tries_every_loss(config, monkeypatch):
    """L_inter, which begins with a later epoch, too."""
    seen = []
    forward = InterCameraLoss.forward

    def note(self, *args):
        seen.append(1)
        return forward(self, *args)

    monkeypatch.setattr(InterCameraLoss, 'forward', note)
    dry_run(config(**PROXIES | dict(model__inter_epoch=2)))
    assert seen == [1]


def test_inter_epoch_beyond_the_end(config, capsys):
    train(config(**PROXIES | dict(model__inter_epoch=3)))
    message = 'loss_inter never begins: inter_epoch is 3'
    assert message in capsys.readouterr().out


@pytest.mark.parametrize('method', **METHODS)
def test_starts_from_another_target(config, benchmark, monkeypatch, method):
    """Of another size, whose clusters are no fallback here."""
    domains = config('domains', **method).train_dataloader.dataset
    swapped = dict(
        train_dataloader__dataset__target__data_root=f'{benchmark}/source'
    )
    if domains.source:
        swapped['train_dataloader__dataset__source__data_root'] = (
            f'{benchmark}/target'
        )
    other = train(config('other', **method, **swapped))
    assert len(other.model.clusters.labels) != NUM_TARGETS
    file = f'{other.work_dir}/stage_cluster.pth'
    runner = train(config('run', load_from=file, **method))
    assert runner.iter == END
    assert len(runner.model.clusters.labels) == NUM_TARGETS
    replace_labels(monkeypatch, lambda call: NONE)
    same = config('same', load_from=f'{runner.work_dir}/stage_cluster.pth')
    with pytest.raises(ValueError, match='found 0 clusters'):
        train(same)

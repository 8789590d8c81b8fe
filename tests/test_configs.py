import ast
import copy
import functools
import re
import runpy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, DefaultScope
from mmengine.runner import Runner
from tiny_mar import CONFIGS, ROOT

from mmreid import registry
from mmreid.errors import InputError
from mmreid.registry import MODELS
from mmreid.utils import (
    derive_domains,
    load_row,
    load_table,
    ranking_evaluators,
    ranking_metric,
    read_config,
)
from mmreid.utils.config_check import check_config
from mmreid.utils.experiment import load_experiment

FILES = sorted(
    path.relative_to(CONFIGS).as_posix()
    for path in Path(CONFIGS).rglob('*.py')
    if path.name != 'table.py'
)
# The main configs, and by the same name without the suffix, the rows.
MAINS = [path for path in FILES if not path.startswith('_base_')]
ROWS = {
    f'{path.parent.name}/{name}': row
    for path in sorted(Path(CONFIGS).rglob('table.py'))
    for name, row in load_table(str(path)).items()
    if row.overrides or row.base
}
METHODS = MAINS + list(ROWS)

# Where the types below a key are registered; other keys change nothing.
REGISTRY_OF = dict(
    model=MODELS,
    init_cfg=registry.WEIGHT_INITIALIZERS,
    model_wrapper_cfg=registry.MODEL_WRAPPERS,
    dataset=registry.DATASETS,
    pipeline=registry.TRANSFORMS,
    sampler=registry.DATA_SAMPLERS,
    collate_fn=FUNCTIONS,
    train_cfg=registry.LOOPS,
    optim_wrapper=registry.OPTIM_WRAPPERS,
    optimizer=registry.OPTIMIZERS,
    param_scheduler=registry.PARAM_SCHEDULERS,
    custom_hooks=registry.HOOKS,
    val_evaluator=registry.METRICS,
    test_evaluator=registry.METRICS,
    visualizer=registry.VISUALIZERS,
    vis_backends=registry.VISBACKENDS,
)


@functools.cache
def load(path):
    """As the tools read it."""
    if path in ROWS:
        return read_config(ROWS[path].argument).to_dict()
    return read_config(f'{CONFIGS}/{path}').to_dict()


@functools.cache
def raw(path):
    """As it is written, with its bases."""
    return Config.fromfile(f'{CONFIGS}/{path}').to_dict()


def types_of(config, place=None):
    """All (registry, type) pairs of a config."""
    if isinstance(config, dict):
        # A registry without classes of its own is false.
        if place is not None and 'type' in config:
            yield place, config['type']
        for key, value in config.items():
            if key == 'default_hooks':
                # Whatever their names.
                yield from types_of(list(value.values()), registry.HOOKS)
            else:
                yield from types_of(value, REGISTRY_OF.get(key, place))
    elif isinstance(config, list | tuple):
        for value in config:
            yield from types_of(value, place)


@functools.cache
def is_registered(place, name):
    with DefaultScope.overwrite_default_scope('mmreid'):
        return place.get(name) is not None


@pytest.mark.parametrize('path', FILES)
def test_parses(path):
    assert raw(path)


@pytest.mark.parametrize('path', METHODS)
def test_types_are_registered(path):
    found = set(types_of(load(path)))
    # The walk has seen the parts.
    assert {place for place, _ in found} >= {
        MODELS,
        registry.DATASETS,
        registry.HOOKS,
        registry.LOOPS,
        registry.OPTIMIZERS,
    }
    for place, name in found:
        assert is_registered(place, name), (place.name, name)


@pytest.mark.parametrize('path', METHODS)
def test_model_builds(path, monkeypatch):
    # mmpretrain reads numbers off a tensor, which the meta device has not.
    linspace = functools.partial(torch.linspace, device='cpu')
    monkeypatch.setattr(torch, 'linspace', linspace)
    cfg = load(path)['model']
    # The weights' files are not at hand everywhere.
    cfg = dict(cfg, backbone=dict(cfg['backbone'], init_cfg=None))
    with (
        DefaultScope.overwrite_default_scope('mmreid'),
        torch.device('meta'),
    ):
        model = MODELS.build(cfg)
        # Head and backbone fit together.
        features = model.extract_feat(torch.zeros(2, 3, 64, 32))
        features = features[:, : model.feature_length]
        if cfg['type'] in ('MAR', 'SourceFreeMAR'):
            logits = [model.head.logits(features)]
            sizes = [cfg['head']['num_agents']]
        elif cfg['type'] == 'Baseline':
            logits = [model.classifier(features)]
            sizes = [cfg['num_identities']]
        elif cfg['type'] in ('CameraProxies', 'ClusterContrast'):
            model.memory.rows = torch.zeros(7, model.feature_length)
            logits = [model.memory(features)]
            sizes = [7]
        elif cfg['type'] == 'SpCL':
            # Three source classes, and four images of two clusters, whose
            # number is read off the labels.
            with torch.device('cpu'):
                memory = MODELS.build(cfg['memory'])
                memory.rows = torch.zeros(7, model.feature_length)
                labels = torch.tensor([0, 1, 0, 1])
                logits = [memory(torch.zeros(features.shape), labels)]
            sizes = [5]
        else:
            logits = [
                model.identity_classifier(features),
                model.attribute_classifier(features),
            ]
            sizes = [cfg['num_identities'], cfg['num_attributes']]
    assert [tuple(each.shape) for each in logits] == [(2, n) for n in sizes]


@pytest.mark.parametrize('path', METHODS)
def test_stages_fit_the_model(path):
    cfg = load(path)
    stages = cfg['train_cfg']['stages']
    declared = MODELS.get(cfg['model']['type']).stages
    for name in cfg['train_cfg']['order']:
        assert set(stages[name]['batch_size']) == set(declared[name])


# The iterations of the paper, and the stages of its tables' variants.
PAPER_STAGES = dict(
    identity=('source', 100_000),
    attribute=('source', 100_000),
    joint=('source', 20_000),
    adapt=('target', 20_000),
)
PAPER_ORDER = {
    'attribute-only': ['attribute'],
    'identity-only': ['identity'],
    'independent': ['identity', 'attribute'],
    'joint-supervision': ['joint'],
    'wo-adaptation': ['identity', 'joint'],
}
PAPER_SOURCES = dict(
    market=('Market1501', 751, 27), duke=('DukeMTMCreID', 702, 23)
)
PAPER_TARGETS = dict(
    market='Market1501', duke='DukeMTMCreID', viper='VIPeR', prid='PRID2011'
)


# Of what the paper did not run, the name says the backbone and the size.
PAPER_PATH = re.compile(
    r'tj_aidl/tj_aidl_(market|duke)_([a-z]+)(?:_([a-z-]+))?(?:\.py)?'
)
PAPER = [
    (path, *match.groups())
    for path in METHODS
    if (match := PAPER_PATH.fullmatch(path))
]


@pytest.mark.parametrize('path, source, target, variant', PAPER)
def test_tj_aidl_is_the_paper(path, source, target, variant):
    cfg = load(path)
    model, stages = cfg['model'], cfg['train_cfg']['stages']
    kind, num_identities, num_attributes = PAPER_SOURCES[source]
    data = cfg['train_dataloader']['dataset']
    assert data['source']['type'] == kind
    assert data['target']['type'] == PAPER_TARGETS[target]
    assert cfg['test_dataloader']['dataset']['type'] == PAPER_TARGETS[target]
    assert model['num_identities'] == num_identities
    assert model['num_attributes'] == num_attributes

    assert model['backbone']['type'] == 'MobileNetV1'
    assert model['backbone'].get('width_mult', 1) == 1
    assert model['backbone']['init_cfg']['type'] == 'Pretrained'
    assert model['type'] == (
        'JointSupervision' if variant == 'joint-supervision' else 'TJAIDL'
    )
    if model['type'] == 'TJAIDL':
        assert model['head']['hidden_channels'] == (512, 128)
        assert model['loss_rec']['loss_weight'] == 10
        assert model['loss_id_transfer']['loss_weight'] == 10

    adam = dict(type='Adam', lr=0.002, betas=(0.5, 0.999))
    assert cfg['optim_wrapper'] == dict(optimizer=adam)
    order = PAPER_ORDER.get(variant, ['identity', 'joint', 'adapt'])
    assert cfg['train_cfg']['order'] == order
    for name in order:
        domain, iterations = PAPER_STAGES[name]
        if variant == 'joint-supervision':
            # As long as a branch on its own.
            iterations = 100_000
        # No schedule and no optimiser of its own either.
        assert stages[name] == dict(
            batch_size={domain: 8}, max_iters=iterations
        )


def test_all_configs_of_the_paper_are_there():
    assert len(PAPER) == 6 + 6 * 10


@pytest.mark.parametrize('path', MAINS)
def test_top_level_keys(path):
    """A misspelt one would be ignored without a word."""
    file = Path(CONFIGS, path)
    tree = ast.parse(file.read_text())
    values = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
    }
    bases = ast.literal_eval(values.pop('_base_'))
    single = isinstance(bases, str)
    known = {'source', 'target'}  # see derive_domains
    for base in [bases] if single else bases:
        base = (file.parent / base).resolve().relative_to(CONFIGS)
        known |= raw(base.as_posix()).keys()
        # A variant is one.
        assert raw(path) != raw(base.as_posix())
    if not single:
        # A config of its own may add what the runner takes.
        known |= set(Runner.__init__.__code__.co_varnames)
    # Variables for its own use.
    known |= {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert values.keys() <= known


# What the paper's tables and figures change: a copy of their numbers.
MAR_ROWS = {
    'wo_cml': ['wo_cml'],
    'wo_ral': ['wo_ral'],
    'wo_cml_ral': ['wo_cml', 'wo_ral'],
    'feature-guided': ['feature-guided'],
    'feature-guided_wo_cml_ral': ['feature-guided', 'wo_cml', 'wo_ral'],
    'wo_mdl': ['wo_mdl'],
    'paper-text': ['paper-text'],
    'matlab-resize': ['matlab-resize'],
    **{f'{n}-persons': [n] for n in (100, 300, 500, 1000, 1500, 2000, 3000)},
    **{f'lambda1-{x}': [x] for x in ('2e-5', '5e-5', '1e-4', '5e-4', '1e-3')},
    **{f'lambda2-{x}': [('l2', x)] for x in (5, 10, 20, 100, 200)},
    **{f'p-{x}': [('p', x)] for x in (0.001, 0.002, 0.01, 0.02)},
    **{f'beta-{x}': [('beta', x)] for x in (0.05, 0.1, 0.5, 1.0)},
}


@pytest.mark.parametrize('main', ['mar_msmt_market', 'mar_msmt_duke'])
@pytest.mark.parametrize('row', MAR_ROWS)
def test_mar_rows_are_the_paper(main, row):
    """Every row changes what its name says, and nothing else."""
    expected = copy.deepcopy(load(f'mar/{main}.py'))
    model = expected['model']
    for change in MAR_ROWS[row]:
        if change == 'wo_cml':
            model['loss_cml']['loss_weight'] = 0
        elif change == 'wo_ral':
            model['loss_al']['loss_weight'] = 0
            model['loss_rj']['loss_weight'] = 0
        elif change == 'wo_mdl':
            model['miner'] = None
            expected['default_hooks']['pair_mining']['purity'] = False
        elif change == 'feature-guided':
            model['miner'] = dict(type='FeatureGuidedMiner', ratio=0.005)
        elif change == 'paper-text':
            model['head']['scale'] = 'auto'
            model['memory'] = model['references'] = None
            model['miner']['threshold'] = 'batch'
            expected['default_hooks']['pair_mining']['start_epoch'] = 0
        elif change == 'matlab-resize':
            for part in ('train', 'test'):
                pipeline = expected[f'{part}_dataloader']['dataset'][
                    'pipeline'
                ]
                pipeline[1] = dict(type='MatlabResize', scale=(128, 384))
        elif isinstance(change, int):
            model['head']['num_reference_persons'] = change
        elif change[0] == 'p':
            model['miner']['ratio'] = change[1]
        elif change[0] == 'beta':
            model['loss_rj']['loss_weight'] = 50 * change[1]
        elif change[0] == 'l2':
            model['loss_al']['loss_weight'] = change[1]
            model['loss_rj']['loss_weight'] = 0.2 * change[1]
        else:
            model['loss_cml']['loss_weight'] = float(change)
    assert load(f'mar/{main}_{row}') == expected


def test_all_rows_of_the_paper_are_there():
    mains = {'mar_msmt_market', 'mar_msmt_duke'}
    names = {f'mar/{main}_{row}' for main in mains for row in MAR_ROWS}
    assert names == {n for n in ROWS if n.startswith('mar/mar_msmt_')}
    # The same on other data: fewer reference persons, and another own p.
    for main, most, own in (
        ('mar_r50_384x128_cuhk-market', 1714, 0.005),
        ('mar_r50_128x64_cuhk-market', 1714, 0.001),
        ('mar_osnet-x0-25_192x96_cuhk-market', 1714, 0.001),
        ('mar_demo', 600, 0.005),
    ):
        rows = {
            row
            for row, (change, *_) in MAR_ROWS.items()
            if not (isinstance(change, int) and change >= most)
            and not (change == 'matlab-resize' and main == 'mar_demo')
        }
        rows = (rows | {'p-0.005'}) - {f'p-{own}'}
        rows |= {'cluster-contrast'} if main == 'mar_demo' else set()
        if main == 'mar_r50_128x64_cuhk-market':
            rows |= {'slow', 'long', 'long_wo_mdl'}
        found = {n for n in ROWS if n.startswith(f'mar/{main}_')}
        assert found == {f'mar/{main}_{row}' for row in rows}
    own = {
        f'mar/mar_r50_{size}_own-cameras_{source}'
        for size in ('384x128', '128x64')
        for source in ('msmt', 'cuhk01')
    }
    assert own == {n for n in ROWS if 'own-cameras' in n}
    # The paper's six transfers, 128x64, 256x128, OSNet and the demo; CUHK01,
    # six recipes, longer adaptations and longer joint stages.
    tj_aidl = [n for n in ROWS if n.startswith('tj_aidl/')]
    assert len(tj_aidl) == 6 * 10 + 4 * 9 + 2 + 6 + 3 + 2


def experiments():
    for path in sorted(Path(CONFIGS).rglob('table.py')):
        content = runpy.run_path(str(path))
        for name in content['experiments']:
            for main in content['configs']:
                yield path.parent, name, Path(main).stem


@pytest.mark.parametrize('folder, name, main', experiments())
def test_experiments(folder, name, main):
    """Every cell is of a stage, a tool and a row that there are."""
    try:
        experiment = load_experiment(str(folder), name, main)
    except InputError as error:
        assert 'is not made for the config' in str(error)
        return
    titles = [cell.title for cell, _ in experiment.cells]
    assert len(set(titles)) == len(titles) > 0
    stages = load(f'{folder.name}/{main}.py')['train_cfg']['order']
    for cell, row in experiment.cells:
        order = row.load().train_cfg.order
        assert cell.stage in (None, 'untrained', *order)
        assert row.after is None or row.after in stages
        if cell.tool:
            tools = Path(ROOT, 'tools/analysis_tools')
            assert (tools / f'{cell.tool}.py').is_file()
        if experiment.x:
            assert isinstance(cell.x, float | int)


@pytest.mark.parametrize(
    'main, stage',
    [
        ('tj_aidl_duke_market', None),
        ('tj_aidl_demo', None),
        # On random splits there is no one adapted model.
        ('tj_aidl_market_viper', 'joint'),
        ('tj_aidl_mobilenet_128x64_market-viper', 'joint'),
    ],
)
def test_a_cell_may_be_made_for_some_configs(main, stage):
    folder = str(Path(CONFIGS, 'tj_aidl'))
    ((cell, _),) = load_experiment(folder, 'fig-3', main).cells
    assert cell.stage == stage


@pytest.mark.parametrize('path', ROWS)
def test_rows_change_something(path):
    row = ROWS[path]
    main = Path(row.config).relative_to(CONFIGS).as_posix()
    changed = Path(row.base or row.config).relative_to(CONFIGS).as_posix()
    # A misspelt key would be ignored without a word.
    assert row.overrides.keys() <= raw(changed).keys()
    assert load(path) != load(main)


TABLE = """
configs = ['one.py']
rows = {
    'a': dict(title='A', model=dict(
        head=dict(_delete_=True, width='{{_base_.model.width}}'))),
    'b_c': dict(title='B', configs=['one.py', 'two.py'], stages=[1, 2],
        copied='{{ _base_.model.head }}'),
}
"""


@pytest.fixture
def table(tmp_path):
    """Write a table, and give its path."""

    def write(text=TABLE):
        for name in ('one', 'two'):
            (tmp_path / f'{name}.py').write_text(
                f'model = dict(type="{name}", width=3, head=dict(x=1))\n'
                'stages = [3]\n'
            )
        (tmp_path / 'table.py').write_text(text)
        return str(tmp_path / 'table.py')

    return write


def test_table(table, tmp_path):
    rows = load_table(table())
    # A main config, then its rows.
    assert list(rows) == ['one', 'one_a', 'one_b_c', 'two', 'two_b_c']
    assert rows['one_b_c'].title == 'B'
    model = dict(type='one', width=3, head=dict(x=1))
    one = rows['one'].load()
    assert one.to_dict() == dict(model=model, stages=[3])
    row = rows['one_b_c'].load()
    assert row.to_dict() == dict(model=model, stages=[1, 2], copied=dict(x=1))
    # Twice the same: nothing of the table was used up.
    for _ in range(2):
        row = load_row(str(tmp_path / 'table.py'), 'one_a')
        assert row.to_dict() == dict(
            model=dict(type='one', width=3, head=dict(width=3)), stages=[3]
        )
    # What names its work dir and its copy there.
    assert row.filename == str(tmp_path / 'one_a.py')
    # What tools take.
    for row in rows.values():
        assert read_config(row.argument).to_dict() == row.load().to_dict()
    cfg = read_config(f'{tmp_path}/one.py:a', {'model.head.width': 4})
    assert cfg.model.head.width == 4


def test_a_row_of_another_method(table, tmp_path):
    other = tmp_path / 'other' / 'three.py'
    other.parent.mkdir()
    other.write_text('model = dict(type="three", width=4)')
    text = TABLE.replace(
        "'a': dict(",
        "'c': dict(title='C', after='x', _base_={'two.py': 'other/three.py'}),"
        "'d': dict(title='D', _base_={'two.py': 'other/three.py'},"
        "    model=dict(width='{{_base_.model.type}}')),"
        "'a': dict(",
    )
    rows = load_table(table(text))
    assert list(rows)[-3:] == ['two_c', 'two_d', 'two_b_c']
    assert rows['two_c'].base == str(other) and rows['two_c'].after == 'x'
    three = dict(type='three', width=4)
    assert read_config(f'{tmp_path}/two.py:c').to_dict() == dict(model=three)
    row = read_config(f'{tmp_path}/two.py:d')
    assert row.model.to_dict() == dict(type='three', width='three')
    assert row.filename == str(tmp_path / 'two_d.py')
    other.unlink()
    with pytest.raises(FileNotFoundError, match="config 'other/three.py'"):
        load_table(table(text))


def test_references_are_copies(table):
    row = load_row(table(), 'one_b_c')
    row.copied.x = 2
    assert row.model.head.x == 1


@pytest.mark.parametrize(
    'text, error, message',
    [
        ('rows = {}', ValueError, 'must have configs, a list'),
        ('configs = []', ValueError, 'must have rows, a dict'),
        (
            'configs = ["three.py"]\nrows = {}',
            FileNotFoundError,
            "names the config 'three.py', which does not exist",
        ),
        (
            'configs = ["one.py"]\nrows = dict(a=dict(model=1))',
            ValueError,
            "row 'a' of .* must have a title",
        ),
        (
            'configs = ["one.py"]\nrows = dict(a=dict(title="A"))',
            ValueError,
            "row 'a' of .* at least one key",
        ),
        (
            TABLE.replace('.width', '.length'),
            ValueError,
            "'one_a' refers to model.length, which '.*one.py' does not have",
        ),
    ],
)
def test_table_errors(table, text, error, message):
    with pytest.raises(error, match=message):
        load_row(table(text), 'one_a')


def test_unknown_rows(table, tmp_path):
    file = table()
    with pytest.raises(ValueError, match="no row 'one_b'; it has one_b_c"):
        load_row(file, 'one_b')
    # Nothing is near: all of them.
    with pytest.raises(ValueError, match='it has one, one_a, .*, two_b_c'):
        load_row(file, 'qqqqqqqq')
    with pytest.raises(ValueError, match="no row 'two_a'"):
        read_config(f'{tmp_path}/two.py:a')
    with pytest.raises(FileNotFoundError, match="'.*three.py' does not exist"):
        read_config(f'{tmp_path}/three.py')
    with pytest.raises(FileNotFoundError, match='must be a file table.py'):
        read_config(f'{CONFIGS}/_base_/default_runtime.py:a')


def places(cfg):
    """What the target is used for."""
    return [
        cfg['train_dataloader']['dataset'].get('target'),
        cfg.get('val_dataloader', {}).get('dataset'),
        cfg.get('test_dataloader', {}).get('dataset'),
    ]


@pytest.fixture
def child(tmp_path):
    """Write a config that inherits, and give its path."""

    def write(text, base='mar_r50_384x128_cuhk-market'):
        file = tmp_path / 'child.py'
        file.write_text(f"_base_ = '{CONFIGS}/mar/{base}.py'\n{text}\n")
        return str(file)

    return write


def test_the_target_is_written_once(child):
    cfg = read_config(child(''))
    market = dict(
        type='Market1501',
        data_root='data/market1501',
        val_identities=151,
        val_seed=0,
    )
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert places(cfg) == [
        dict(market, labelled=False),
        dict(market, split='val', pipeline=pipeline),
        dict(market, split='test', pipeline=pipeline),
    ]
    assert 'target' not in cfg
    # What a run leaves in its work dir says the same.
    again = copy.deepcopy(cfg)
    derive_domains(again)
    assert again.to_dict() == cfg.to_dict()
    # None of them is another one.
    cfg.test_dataloader.dataset.data_root = 'x'
    assert [part.data_root for part in places(cfg)] == [
        'data/market1501', 'data/market1501', 'x'
    ]  # fmt: skip


def test_a_child_changes_the_target_alone(child):
    cfg = read_config(
        child(
            "target = dict(type='DukeMTMCreID', data_root='d', "
            "labelled=True, split='val')"
        )
    )
    for part, role in zip(
        places(cfg),
        (dict(labelled=False), dict(split='val'), dict(split='test')),
        strict=True,
    ):
        part = part.to_dict()
        part.pop('pipeline', None)
        assert part == dict(
            type='DukeMTMCreID',
            data_root='d',
            val_identities=151,
            val_seed=0,
            **role,
        )


def test_own_cameras(child, tmp_path):
    """The README's example: no validation part, and no labels to test."""
    cfg = read_config(
        child(
            'target = dict(_delete_=True, '
            "type='ReIDManifest', ann_file='crops.csv')"
        )
    )
    train, val, test = places(cfg)
    own = dict(type='ReIDManifest', ann_file='crops.csv')
    assert train == dict(own, labelled=False)
    assert val is None
    assert not {'val_dataloader', 'val_evaluator', 'val_cfg'} & set(cfg)
    # Of a list that says what is query and gallery; else an error says so.
    test.pop('pipeline')
    assert test == dict(own, split='test')
    (tmp_path / 'crops.csv').write_text('path,person_id,camera_id\na,1,1\n')
    test.ann_file = str(tmp_path / 'crops.csv')
    with pytest.raises(ValueError, match="no row of split 'query'"):
        registry.DATASETS.build(test)


@pytest.mark.parametrize(
    'target, size',
    [
        ('', '128x64_own-cameras'),
        ('', '384x128_own-cameras'),
        # Said of any data set; by default, of a folder.
        ("dict(type='Market1501', data_root='crops', labelled=False)", None),
        ("dict(_delete_=True, type='ReIDFolder', data_root='crops')", None),
    ],
)
def test_without_labels_there_is_no_test(child, target, size):
    text = target and f'target = {target}'
    base = f'mar_r50_{size or "384x128_cuhk-market"}'
    cfg = read_config(child(text, base))
    train, val, test = places(cfg)
    assert (train.data_root, train.labelled) == ('crops', False)
    assert val is test is None
    assert not [key for key in cfg if key.startswith(('val_', 'test_'))]
    # Who knows the persons says so.
    path = child("target = dict(type='ReIDFolder', labelled=True)", base)
    assert places(read_config(path))[2].type == 'ReIDFolder'


def test_own_cameras_need_the_folder_alone(monkeypatch):
    monkeypatch.setenv('MMREID_CROPS', 'there')
    monkeypatch.setenv('MMREID_DATA', 'sets')
    for size in ('384x128', '128x64'):
        path = f'mmreid::mar/mar_r50_{size}_own-cameras.py'
        for row, source in (
            ('', dict(type='Market1501', data_root='sets/market1501')),
            (':cuhk01', dict(type='CUHK01', data_root='sets/cuhk01')),
        ):
            domains = read_config(path + row).train_dataloader.dataset
            assert domains.source == source
            assert domains.target == dict(
                type='ReIDFolder',
                data_root='there',
                pattern=None,
                labelled=False,
            )


@pytest.mark.parametrize(
    'method, network',
    [
        ('cluster_contrast', 'r50_128x64'),
        ('cluster_contrast', 'osnet-x0-25_192x96'),
        ('camera_proxies', 'osnet-x0-25_192x96'),
        ('spcl', 'osnet-x0-25_192x96'),
    ],
)
def test_own_cameras_of_methods_that_cluster(monkeypatch, method, network):
    monkeypatch.setenv('MMREID_CROPS', 'there')
    monkeypatch.setenv('MMREID_DATA', 'sets')
    cfg = read_config(f'mmreid::{method}/{method}_{network}_own-cameras.py')
    domains = cfg.train_dataloader.dataset
    if method == 'spcl':
        assert domains.source == [
            dict(type='Market1501', data_root='sets/market1501')
        ]
    else:
        assert 'source' not in domains
    assert domains.target == dict(
        type='ReIDFolder', data_root='there', pattern=None, labelled=False
    )
    # Nobody knows who is who.
    assert not cfg.default_hooks.pseudo_labels.quality
    assert not [key for key in cfg if key.startswith(('val_', 'test_'))]


@pytest.mark.parametrize('delete', ['', '_delete_=True, '])
def test_what_is_written_in_its_place_counts(child, delete):
    cfg = read_config(
        child(
            'train_dataloader = dict(dataset=dict(target=dict('
            f"{delete}type='ReIDManifest', ann_file='a.csv')))\n"
            'val_dataloader = dict(dataset=dict(indices=9))\n'
            "test_dataloader = dict(dataset=dict(_delete_=True, type='VIPeR'))"
        )
    )
    train, val, test = places(cfg)
    assert train == dict(type='ReIDManifest', ann_file='a.csv')
    assert (val.indices, val.type, val.split) == (9, 'Market1501', 'val')
    assert test == dict(type='VIPeR')


def test_options_on_the_target_and_on_what_comes_of_it(child):
    options = {
        'target.data_root': 'x',
        'test_dataloader.dataset.data_root': 'y',
        'train_dataloader.dataset.target.indices': 3,
    }
    train, val, test = places(read_config(child(''), options))
    assert [part.data_root for part in (train, val, test)] == ['x', 'x', 'y']
    assert (train.type, train.indices) == ('Market1501', 3)
    assert test.split == 'test'


def test_without_a_target(child):
    cfg = read_config(child('target = None'))
    assert places(cfg) == [None, None, None]
    with pytest.raises(ValueError, match='has no test set'):
        ranking_evaluators(cfg)
    # As a child says it of a base that has a test.
    with pytest.raises(ValueError, match='has no test set'):
        ranking_evaluators(Config(dict(test_evaluator=None)))
    assert ranking_metric(Config(dict(test_evaluator=None))) == 'cosine'
    # Of a target whose test is left out the features have a metric, too.
    base = 'tj_aidl/tj_aidl_market_viper'
    options = {'target.type': 'ReIDFolder', 'target.data_root': 'crops'}
    cfg = read_config(f'mmreid::{base}.py', options)
    assert 'test_evaluator' not in cfg
    assert ranking_metric(cfg) == 'euclidean'
    check_config(cfg)
    assert ranking_metric(cfg) == 'euclidean'
    # Nothing to derive: a config of one's own.
    cfg = Config(dict(test_dataloader=dict(dataset=dict(x=1))))
    derive_domains(cfg)
    assert cfg.to_dict() == dict(test_dataloader=dict(dataset=dict(x=1)))


def test_the_source_is_written_once(child):
    """One data set or several, or what is written in its place."""
    several = read_config(child('')).train_dataloader.dataset.source
    assert [part.type for part in several] == ['CUHK01', 'ReIDManifest']
    path = child("source = dict(data_root='m')", 'mar_msmt_market')
    cfg = read_config(path, {'source.combine_all': False})
    assert cfg.train_dataloader.dataset.source == dict(
        type='MSMT17', data_root='m', combine_all=False
    )
    assert 'source' not in cfg
    for text in ('dict(type="VIPeR")', '[dict(type="VIPeR")]'):
        path = child(f'train_dataloader = dict(dataset=dict(source={text}))')
        cfg = read_config(path)
        assert cfg.train_dataloader.dataset.source == eval(text)


@pytest.mark.parametrize(
    'target', ["'Market1501'", '[]', 'dict(_delete_=True, data_root=1)']
)
def test_a_target_that_is_none(child, target):
    with pytest.raises(ValueError, match="child.py': target must be one data"):
        read_config(child(f'target = {target}'))


@pytest.mark.parametrize('path', MAINS)
def test_no_config_holds_a_second_copy(path):
    """A Runner of the file itself fails, and trains on no other data."""
    train, val, test = places(raw(path))
    if 'market-val' in path or path.startswith('baseline/'):
        return  # no adaptation: they write what they test
    assert 'source' not in raw(path)['train_dataloader']['dataset']
    assert train is None
    for part in (val, test):
        assert part is None or set(part) == {'pipeline'}
    with (
        DefaultScope.overwrite_default_scope('mmreid'),
        pytest.raises(KeyError, match='type'),
    ):
        registry.DATASETS.build(test)

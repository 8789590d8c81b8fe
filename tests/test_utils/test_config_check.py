"""What a config check refuses, and that it lets every config pass."""

import glob

import pytest
from mmengine.config import Config

from mmreid.errors import InputError
from mmreid.registry import MODELS
from mmreid.utils import load_table, read_config
from mmreid.utils.config_check import check_config

CONFIG = 'configs/mar/mar_msmt_market.py'
OPTIMISER = 'train_cfg.stages.main.optim_wrapper'


def problems(options):
    with pytest.raises(InputError) as error:
        check_config(read_config(CONFIG, options), options)
    head, *lines = str(error.value).split('\n  ')
    assert CONFIG in head
    return lines


@pytest.mark.parametrize(
    'key, path, near',
    [
        ('model.type', 'model.type', 'is no model, did you mean'),
        ('model.loss_cm', 'model.loss_cm', 'loss_cml'),
        ('model.backbone.dept', 'model.backbone.dept', 'depth'),
        ('model.miner.rato', 'model.miner.rato', 'ratio'),
        ('optim_wraper', 'optim_wraper', 'optim_wrapper'),
        ('traget', 'traget', 'target'),
        ('source.data_rot', 'train_dataloader.dataset.source.', 'data_root'),
        ('train_dataloader.num_worker', 'train_dataloader.', 'num_workers'),
        (
            'train_dataloader.dataset.pipeline.1.scal',
            'train_dataloader.dataset.pipeline[1].scal',
            'scale',
        ),
        (f'{OPTIMISER}.optimizer.lrr', f'{OPTIMISER}.optimizer.lrr', 'lr'),
        (
            f'{OPTIMISER}.paramwise_cfg.norm_mult',
            f'{OPTIMISER}.paramwise_cfg.norm_mult',
            'norm_decay_mult',
        ),
        ('test_evaluator.metrik', 'test_evaluator.metrik', 'metric'),
        ('default_hooks.logger.intervall', 'default_hooks.', 'interval'),
        ('randomness.sed', 'randomness.sed', 'seed'),
        ('log_processor.window', 'log_processor.window', 'window_size'),
    ],
)
def test_misspelt_key(key, path, near):
    value = 'MRA' if key == 'model.type' else 1
    (line,) = problems({key: value})
    assert line.startswith(path) and near in line


def test_unknown_type_of_another_library():
    (line,) = problems({'model.backbone.type': 'mmpretrain.ResNett'})
    assert "did you mean 'mmpretrain.ResNet'" in line


def test_all_problems_at_once():
    options = {'randomness.sed': 1, 'model.miner.rato': 1, 'nonsense': 1}
    assert len(problems(options)) == 3


def test_an_option_that_comes_too_late():
    (line,) = problems({'data_root': 'elsewhere'})
    assert 'too late' in line


def test_variables_of_the_files_are_taken_out():
    cfg = read_config(CONFIG)
    assert 'data_root' in cfg
    check_config(cfg)
    assert 'data_root' not in cfg and 'model' in cfg


def test_a_class_of_the_user():
    @MODELS.register_module()
    class KeepsItsKeywords(MODELS.get('GlobalPooling')):
        def __init__(self, width, **options):
            super().__init__()

    try:
        options = dict(type='KeepsItsKeywords', width=1, anything=2)
        check_config(read_config(CONFIG, {'model.neck': options}))
        (line,) = problems({'model.neck': dict(options, widht=1)})
        assert "did you mean 'width'" in line
    finally:
        MODELS.module_dict.pop('KeepsItsKeywords')


def test_every_config_passes():
    names = [
        file
        for file in glob.glob('configs/*/*.py')
        if '_base_' not in file and not file.endswith('table.py')
    ]
    for table in glob.glob('configs/*/table.py'):
        names += [row.argument for row in load_table(table).values()]
    assert len(names) > 90
    for name in names:
        check_config(read_config(name))


@pytest.mark.parametrize(
    'text, message',
    [
        ('model = dict(', 'SyntaxError'),
        ("_base_ = 'missing.py'", 'missing.py'),
        ('value = 1 / 0', 'ZeroDivisionError'),
        ("custom_imports = dict(imports=['no_such_module'])", 'ImportError'),
    ],
)
def test_a_config_that_cannot_be_read(tmp_path, text, message):
    file = tmp_path / 'config.py'
    file.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_config(str(file))
    assert str(file) in str(error.value)


def test_options_that_cannot_be_merged():
    with pytest.raises(InputError, match='--cfg-options cannot be merged'):
        read_config(CONFIG, {'model.type.name': 1})


def test_a_config_without_a_file():
    check_config(Config(dict(model=dict(type='MAR'))))

import pytest
import tiny_mar
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from tiny_mar import BOUNDARY, END, RecordHook, hook_of, train

from mmreid.errors import InputError

RECORD = dict(type='RecordHook')
PRETRAIN, MAIN = 'train_cfg__stages__pretrain', 'train_cfg__stages__main'


def build_loop(cfg):
    return Runner.from_cfg(cfg).build_train_loop(cfg.train_cfg)


def test_stages_are_functions_of_the_iteration(tiny_config):
    loop = build_loop(
        # 4 iterations are more than one epoch of 3.
        tiny_config(
            **{f'{PRETRAIN}__max_epochs': None, f'{PRETRAIN}__max_iters': 4}
        )
    )
    names = [loop.stage_at(k).name for k in range(4 + 9)]
    assert names == ['pretrain'] * 4 + ['main'] * 9
    # The end of the training still has a stage.
    assert loop.stage_at(13).name == 'main'
    assert (loop.max_iters, loop.max_epochs) == (13, 2 + 3)
    pretrain, main = loop.stages
    assert (pretrain.begin, pretrain.end, pretrain.first_epoch) == (0, 4, 0)
    assert (main.begin, main.end, main.first_epoch) == (4, 13, 2)
    assert [pretrain.epoch(k) for k in range(4)] == [0, 0, 0, 1]
    assert [main.epoch(k) for k in range(4, 13)] == [0] * 3 + [1] * 3 + [2] * 3


@pytest.fixture(scope='module')
def whole(benchmark, tmp_path_factory):
    """A training of both stages, validated now and then, and its record."""
    work_dir = str(tmp_path_factory.mktemp('whole'))
    cfg = tiny_mar.tiny_config(
        benchmark,
        work_dir,
        custom_hooks=[RECORD],
        train_cfg__stages__main__val_interval=2,
    )
    cfg.update(
        val_dataloader=cfg.test_dataloader,
        val_evaluator=cfg.test_evaluator,
        val_cfg=dict(),
    )
    runner = train(cfg)
    return runner, hook_of(runner, RecordHook)


def test_events(whole):
    _, record = whole
    assert record.events == [
        ('before_stage', 'pretrain', 0),
        ('before_epoch', 0, 0),
        ('before_epoch', 1, 3),
        # No val_interval: at the stage's end.
        ('val', 2, 6),
        ('after_stage', 'pretrain', 6),
        ('before_stage', 'main', 6),
        ('before_epoch', 2, 6),
        ('before_epoch', 3, 9),
        # After two epochs, and at the end.
        ('val', 4, 12),
        ('before_epoch', 4, 12),
        ('val', 5, 15),
        ('after_stage', 'main', 15),
    ]


def test_each_stage_has_its_data(whole):
    _, record = whole
    for k, (domains, indices) in record.samples.items():
        num_target = 0 if k < BOUNDARY else 8
        assert domains == [0] * 8 + [1] * num_target
        assert len(indices) == len(domains)


def test_each_stage_has_its_optimizer_and_schedule(whole):
    _, record = whole
    numbers, states = zip(*record.optimizers.values(), strict=True)
    # Fresh at each stage, without momentum.
    assert len(set(numbers[:BOUNDARY])) == len(set(numbers[BOUNDARY:])) == 1
    assert numbers[0] != numbers[-1]
    assert [k for k, num in enumerate(states) if not num] == [0, BOUNDARY]
    rates = list(record.rates.values())
    # The cosine of the pretraining reaches its end with the stage.
    reference = torch.optim.SGD([torch.zeros(1)], lr=0.02)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(reference, 6, 1e-4)
    for rate in rates[:BOUNDARY]:
        assert rate == pytest.approx(reference.param_groups[0]['lr'])
        reference.step()
        cosine.step()
    # Milestones 1 and 2 are epochs of the main stage.
    assert rates[BOUNDARY:] == pytest.approx(
        [0.005] * 3 + [0.0025] * 3 + [0.00125] * 3
    )


def test_first_stage_goes_on_from_the_stage_checkpoint(whole, tiny_config):
    runner, record = whole
    later = train(
        tiny_config(
            load_from=f'{runner.work_dir}/stage_pretrain.pth',
            train_cfg__first_stage='main',
            custom_hooks=[RECORD],
        )
    )
    assert hook_of(later, RecordHook).samples == {
        k: record.samples[k] for k in range(BOUNDARY, END)
    }
    assert hook_of(later, RecordHook).rates == {
        k: record.rates[k] for k in range(BOUNDARY, END)
    }
    tiny_mar.assert_same(
        dict(later.model.state_dict()), dict(runner.model.state_dict())
    )


def test_a_stage_may_end_within_an_epoch(tiny_config):
    runner = train(
        tiny_config(
            custom_hooks=[RECORD],
            **{
                f'{PRETRAIN}__max_epochs': None,
                f'{PRETRAIN}__max_iters': 2,
                f'{MAIN}__max_epochs': None,
                f'{MAIN}__max_iters': 4,
            },
        )
    )
    record = hook_of(runner, RecordHook)
    assert list(record.samples) == list(range(6))
    assert [e for e in record.events if e[0] == 'before_epoch'] == [
        ('before_epoch', 0, 0),
        ('before_epoch', 1, 2),
        ('before_epoch', 2, 5),
    ]


def test_written_config_trains_in_the_same_order(tiny_config, tmp_path):
    file = str(tmp_path / 'config.py')
    tiny_config().dump(file)
    # What makes the order necessary.
    stages = Config.fromfile(file).train_cfg.stages
    assert list(stages) == ['main', 'pretrain']
    loop = build_loop(Config.fromfile(file))
    assert [stage.name for stage in loop.stages] == ['pretrain', 'main']


def test_stopping_keeps_no_stage(tiny_config, tmp_path):
    cfg = tiny_config(custom_hooks=[dict(type='StopHook', at=1)])
    runner = train(cfg)
    assert runner.iter == 2
    assert not (tmp_path / 'run' / 'stage_pretrain.pth').exists()


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            {f'{MAIN}__max_epoch': 3},
            "Stage 'main' has unknown keys .'max_epoch'.",
        ),
        (
            {f'{MAIN}__max_iters': 3},
            "Stage 'main' must have one of max_epochs and max_iters",
        ),
        (
            {f'{PRETRAIN}__max_epochs': None},
            "Stage 'pretrain' must have one of max_epochs and max_iters",
        ),
        (
            dict(train_cfg__first_stage='mian'),
            "first_stage is 'mian', but the stages are .'pretrain', 'main'",
        ),
        (
            dict(train_cfg__order=['main', 'tune']),
            "order must name some of the stages .'main', 'pretrain'., each",
        ),
        (
            {f'{MAIN}__batch_size__target': 22},
            '22 images of the target domain, which has only 21',
        ),
        *(
            (
                {f'{MAIN}__max_epochs': None, f'{MAIN}__{key}': value}
                | {f'{MAIN}__max_iters': value if key == 'max_iters' else 3},
                f"{key} of stage 'main' must be a whole number above 0, but",
            )
            for key, value in (
                ('max_iters', 0),
                ('max_iters', -5),
                ('max_iters', 1.5),
                ('epoch_length', -1),
            )
        ),
        (
            {f'{PRETRAIN}__max_epochs': 0},
            "max_epochs of stage 'pretrain' must be a whole number above 0",
        ),
        (
            {f'{MAIN}__batch_size__target': 0},
            "batch_size.target of stage 'main' must be a whole number",
        ),
        (
            {f'{MAIN}__batch_size': 8},
            "batch_size of stage 'main' must be images per domain",
        ),
    ],
)
def test_errors(tiny_config, changes, message):
    with pytest.raises(ValueError, match=message):
        build_loop(tiny_config(**changes))


def test_without_the_hook_that_switches_stages(tiny_config):
    cfg = tiny_config()
    del cfg.default_hooks['stage_switch']
    with pytest.raises(ValueError, match="add .*type='StageSwitchHook'"):
        train(cfg)


def test_a_misspelt_stage_is_refused(tiny_config):
    cfg = tiny_config()
    # As a config that inherits would have it.
    cfg.train_cfg.stages.mian = dict(max_epochs=2)
    with pytest.raises(InputError, match="rename it to 'main'"):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize(
    'change',
    [
        dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=-1))),
        dict(param_scheduler=[dict(type='StepLR')]),
        dict(param_scheduler=[dict(type='MultiStepLR', milestone=[1])]),
    ],
)
def test_a_wrong_optimiser_of_a_later_stage(tiny_config, change):
    cfg = tiny_config()
    cfg.train_cfg.stages.main.update(change)
    with pytest.raises(InputError, match="of stage 'main' is wrong"):
        Runner.from_cfg(cfg).train()

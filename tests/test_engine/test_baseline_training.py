import pytest
import tiny_mar
import torch
from tiny_mar import SOURCE_IDS, RecordHook, hook_of, run_two, train

# 24 images in batches of 8.
END = 9


@pytest.fixture
def config(benchmark, tmp_path):
    def config(work_dir='run', **changes):
        cfg = tiny_mar.tiny_config(benchmark, str(tmp_path / work_dir))
        del cfg.default_hooks['pair_mining']
        cfg.train_dataloader.dataset.target = None
        cfg.custom_imports = dict(imports=['tiny_mar'])
        cfg.train_cfg.order = ['train']
        cfg.train_cfg.stages = dict(
            train=dict(
                batch_size=dict(source=8),
                sampler=dict(
                    source=dict(
                        type='IdentitySampler',
                        num_instances=2,
                        across_cameras=True,
                    )
                ),
                max_epochs=3,
                param_scheduler=[
                    dict(type='LinearLR', start_factor=0.1, end=1),
                    dict(type='MultiStepLR', milestones=[2], gamma=0.1),
                ],
            )
        )
        cfg.model = dict(
            type='Baseline',
            num_identities=SOURCE_IDS,
            data_preprocessor=cfg.model.data_preprocessor,
            backbone=cfg.model.backbone,
        )
        cfg.model.data_preprocessor.augmentations = [
            dict(type='RandomFlipCrop', padding=3),
            dict(type='ColorJitter', brightness=0.2),
            dict(type='RandomErasing', prob=0.5),
        ]
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


def test_batches_and_rates(config):
    runner = train(config(custom_hooks=[dict(type='RecordHook')]))
    record = hook_of(runner, RecordHook)
    dataset = runner.train_loop.dataset
    persons, cameras = (
        dataset.person_ids('source'),
        dataset.camera_ids('source'),
    )
    assert len(record.samples) == END
    for _, index in record.samples.values():
        drawn = persons[index].reshape(4, 2)
        assert (drawn[:, 0] == drawn[:, 1]).all()
        assert len(set(drawn[:, 0])) == 4
        # Two images of an identity are of its two cameras.
        assert (cameras[index].reshape(4, 2).sum(1) == 1).all()
    rates = list(record.rates.values())
    assert rates[0] == pytest.approx(0.0005)
    assert rates[3:6] == pytest.approx([0.005] * 3)
    assert rates[6:] == pytest.approx([0.0005] * 3)


@pytest.mark.parametrize('at', [3, 5])
def test_resumed_run_equals_whole_run(config, at):
    whole = train(config('whole'))
    kill = dict(type='KillHook', event='after_train_iter', at=at)
    with pytest.raises(tiny_mar.Killed):
        train(config(custom_hooks=[kill]))
    resumed = train(config(resume=True))
    tiny_mar.assert_same(
        last_states(resumed.work_dir), last_states(whole.work_dir)
    )


def test_two_processes(config, tmp_path):
    # Batch statistics are those of a process: without them.
    changes = dict(model__backbone__norm_eval=True)
    still = dict(type='StillNeckHook')
    config(
        'two', custom_hooks=[still, dict(type='DumpRankHook')], **changes
    ).dump(str(tmp_path / 'tiny.py'))
    run_two('dist_train.sh', tmp_path / 'tiny.py', 2)
    first = tiny_mar.state_of_ranks(tmp_path / 'two')
    runner = train(config('one', custom_hooks=[still], **changes))
    one = dict(runner.model.state_dict())
    # The neck has learned, and the classifier behind it.
    assert (one['bn_neck.bn.weight'] != 1).any()
    tiny_mar.assert_close_states(first, one)


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            dict(model__num_identities=9),
            'num_identities is 9, but the source has 6 .* set it to 6',
        ),
        (
            dict(train_dataloader__dataset__source__labelled=False),
            "'train' learns identities, but the source images have none",
        ),
        (
            dict(train_cfg__stages__train__batch_size=dict(source=16)),
            '2 images of 8 identities, but there are only 6',
        ),
    ],
)
def test_what_does_not_fit(config, changes, message):
    with pytest.raises(ValueError, match=message):
        train(config(**changes))


def test_several_sources(config, benchmark):
    market = dict(type='Market1501', data_root=f'{benchmark}/target')
    cfg = config(model__num_identities=SOURCE_IDS + 7)
    cfg.train_dataloader.dataset.source = [
        cfg.train_dataloader.dataset.source,
        market,
    ]
    assert 0 <= train(cfg).test()['mAP'] <= 100

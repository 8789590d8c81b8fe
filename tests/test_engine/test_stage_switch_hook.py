import os
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_mar
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from tiny_mar import BOUNDARY, END, RecordHook, hook_of, train

from mmreid.datasets import Market1501, VIPeR
from mmreid.engine import StageSwitchHook


@pytest.fixture(scope='module')
def work_dir(benchmark, tmp_path_factory):
    work_dir = str(tmp_path_factory.mktemp('run'))
    train(
        tiny_mar.tiny_config(
            benchmark, work_dir, default_hooks__checkpoint__max_keep_ckpts=2
        )
    )
    return work_dir


def load(*path):
    return torch.load(os.path.join(*path), weights_only=True)


def plain(value):
    """Whether a checkpoint holds this without pickling objects."""
    if isinstance(value, dict):
        return all(map(plain, [*value.keys(), *value.values()]))
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    return value is None or type(value) in (
        bool,
        int,
        float,
        str,
        torch.Tensor,
    )


def test_checkpoints_are_plain(work_dir):
    files = sorted(f for f in os.listdir(work_dir) if f.endswith('.pth'))
    # The stages' are never deleted.
    assert files == [
        'iter_14.pth',
        'iter_15.pth',
        'stage_main.pth',
        'stage_pretrain.pth',
    ]
    for file in files:
        checkpoint = load(work_dir, file)
        assert plain(checkpoint), file
        assert checkpoint['message_hub']['log_scalars'], file
        assert ('optimizer' in checkpoint) == file.startswith('iter')


def test_stage_checkpoints_hold_the_ends(work_dir):
    for name, iteration, mines in (
        ('pretrain', BOUNDARY, False),
        ('main', END, True),
    ):
        checkpoint = load(work_dir, f'stage_{name}.pth')
        assert checkpoint['meta']['iter'] == iteration
        assert checkpoint['meta']['stage'] == name
        seen = checkpoint['meta']['trained_on']
        assert [s['num_images'] for s in seen] == [24, 21][: 1 + mines]
        assert [s['labelled'] for s in seen] == [True, False][: 1 + mines]
        states = checkpoint['state_dict']
        # Of the pretraining, nothing belongs to the target.
        assert ('memory.rows' in states) == mines
        assert bool(states['miner.threshold'].isfinite()) == mines
    tiny_mar.assert_same(states, load(work_dir, 'iter_15.pth')['state_dict'])


def test_numpy_scalars_become_plain(tiny_config):
    runner = Runner.from_cfg(tiny_config())
    runner.train_loop  # noqa: B018, builds it
    checkpoint = dict(
        meta=dict(iter=0),
        message_hub=dict(log_scalars={}, runtime_info=dict(a=np.int64(3))),
        param_schedulers=[dict(last=[np.float32(0.5)], name='x')],
        state_dict=dict(weight=torch.ones(1)),
    )
    hook_of(runner, StageSwitchHook).before_save_checkpoint(runner, checkpoint)
    assert plain(checkpoint)
    assert checkpoint['message_hub']['runtime_info'] == dict(a=3)
    assert checkpoint['param_schedulers'][0]['last'] == [0.5]


@pytest.mark.parametrize(
    'file, stage',
    [
        ('stage_pretrain.pth', 'pretrain'),
        ('stage_main.pth', 'main'),
        (f'iter_{END}.pth', 'main'),
    ],
)
def test_checkpoints_name_their_stage(work_dir, file, stage):
    assert load(work_dir, file)['meta']['stage'] == stage


def test_resuming_restores_the_log(work_dir, tiny_config):
    stored = load(work_dir, 'iter_14.pth')['message_hub']['log_scalars']
    cfg = tiny_config(resume=True, load_from=f'{work_dir}/iter_14.pth')
    runner = train(cfg)
    scalars = runner.message_hub.log_scalars
    assert {'train/loss', 'train/mined_positives'} <= stored.keys()
    for key, (values, counts) in stored.items():
        resumed = [torch.as_tensor(x) for x in scalars[key].data]
        # Of the one iteration that was left there is a value more.
        length = len(values)
        assert torch.equal(resumed[0][:length], values), key
        assert torch.equal(resumed[1][:length], counts), key
    # Those of the stage.
    assert len(scalars['train/loss'].data[0]) == END - BOUNDARY


def test_resuming_from_a_stage_checkpoint(work_dir, tiny_config):
    runner = train(
        tiny_config(
            resume=True,
            load_from=f'{work_dir}/stage_pretrain.pth',
            custom_hooks=[dict(type='RecordHook')],
        )
    )
    assert min(hook_of(runner, RecordHook).samples) == BOUNDARY
    tiny_mar.assert_same(
        dict(runner.model.state_dict()),
        dict(load(work_dir, 'stage_main.pth')['state_dict']),
    )


def test_resuming_from_weights(work_dir, tiny_config, tmp_path):
    file = str(tmp_path / 'weights.pth')
    states = load(work_dir, 'stage_pretrain.pth')['state_dict']
    for content in (dict(state_dict=states), states):
        torch.save(content, file)
        with pytest.raises(ValueError, match='weights only.*load_from'):
            train(tiny_config(resume=True, load_from=file))


def test_stage_is_announced(tiny_config, tmp_path):
    runner = train(tiny_config(log_level='INFO'))
    assert isinstance(runner.cfg, Config)
    (log,) = (tmp_path / 'run').glob('*/*.log')
    text = log.read_text()
    assert (
        "Stage 1 of 2, 'pretrain': iterations 1 to 6, 3 per epoch, 8 source "
        'images per iteration, seed 0.'
    ) in text
    assert (
        "Stage 2 of 2, 'main': iterations 7 to 15, 3 per epoch, 8 source + 8 "
        'target images per iteration, seed 0.'
    ) in text


def test_a_test_on_training_images_is_warned_about(
    work_dir, tiny_config, tmp_path, benchmark
):
    """Of VIPeR without a split, or of the training part itself."""
    checkpoint = load(work_dir, 'stage_main.pth')
    for name, changes, warns in (
        ('test', {}, False),
        ('all', dict(holds_test_images=True), True),
        ('other', dict(holds_test_images=True, dataset='viper'), False),
    ):
        seen = [dict(s, **changes) for s in checkpoint['meta']['trained_on']]
        file = str(tmp_path / f'{name}.pth')
        meta = dict(checkpoint['meta'], trained_on=seen)
        torch.save(dict(checkpoint, meta=meta), file)
        cfg = tiny_config(name, load_from=file)
        runner = Runner.from_cfg(cfg)
        runner.test()
        (log,) = (tmp_path / name).glob('*/*.log')
        said = 'The weights were trained on 21 images of market1501'
        assert (said in log.read_text()) == warns, name


@pytest.mark.parametrize(
    'seen, split, drawn, warns',
    [
        ('train', 'val', [2, 0], False),
        ('train', 'val', [2, 1], True),
        ('train', 'val', [0, 0], True),
        ('train', 'test', [0, 0], False),
        ('train', 'val', None, False),  # of an earlier version
    ],
)
def test_another_draw_is_warned_about(seen, split, drawn, warns):
    """The validation persons of one draw are trained on in another."""
    said = []
    dataset = Market1501.__new__(Market1501)
    dataset._metainfo = dict(dataset_name='market1501')
    dataset.split, dataset.val_identities, dataset.val_seed = split, 2, 0
    hook = StageSwitchHook()
    item = dict(dataset='market1501', split=seen, holds_test_images=False)
    hook._trained_on = [
        item | dict(num_images=9) | (dict(drawn=drawn) if drawn else {})
    ]
    hook.before_test(
        SimpleNamespace(
            test_dataloader=SimpleNamespace(dataset=dataset),
            logger=SimpleNamespace(warning=said.append),
        )
    )
    assert bool(said) == warns


def test_draws_of_random_splits():
    dataset = VIPeR.__new__(VIPeR)
    dataset.split_file, dataset.split_index = 'splits.json', 3
    assert dataset.drawn == [3] and 'test' in dataset.drawn_parts
    dataset.split_file = None
    assert dataset.drawn == [-1]

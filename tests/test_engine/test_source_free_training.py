import pytest
import tiny_mar
import torch
from tiny_mar import run_two, train

MAIN = dict(
    model__type='SourceFreeMAR',
    train_dataloader__dataset__source=None,
    train_cfg__order=['main'],
    train_cfg__stages__main__batch_size=dict(_delete_=True, target=8),
    # An epoch is a pass over the target, of two batches.
    default_hooks__checkpoint__interval=2,
)
END = 6


@pytest.fixture
def pretrained(tiny_config):
    runner = train(tiny_config('pretrain', train_cfg__order=['pretrain']))
    return f'{runner.work_dir}/stage_pretrain.pth'


def test_from_a_checkpoint_without_its_source(tiny_config, pretrained):
    before = torch.load(pretrained, weights_only=True)['state_dict']
    runner = train(tiny_config('main', load_from=pretrained, **MAIN))
    assert runner.iter == END
    after = runner.model.state_dict()
    assert torch.equal(after['head.agents'], before['head.agents'])
    first = next(k for k in before if k.endswith('conv1.weight'))
    assert not torch.equal(after[first], before[first])
    scalars = runner.message_hub.log_scalars
    losses = {k for k in scalars if 'loss_' in k}
    assert losses == {'train/loss_cml', 'train/loss_mdl'}
    assert runner.test()['mAP'] > 0


@pytest.mark.parametrize('at', [1, 3])
def test_resumed_run_equals_whole_run(tiny_config, pretrained, at):
    changes = dict(MAIN, default_hooks__checkpoint__interval=1)
    start = dict(changes, load_from=pretrained)
    whole = train(tiny_config('whole', **start))
    kill = dict(type='KillHook', event='before_train_iter', at=at)
    with pytest.raises(tiny_mar.Killed):
        train(tiny_config('cut', custom_hooks=[kill], **start))
    resumed = train(tiny_config('cut', resume=True, **changes))
    states = [
        torch.load(f'{run.work_dir}/iter_{END}.pth', weights_only=True)
        for run in (resumed, whole)
    ]
    for key in ('state_dict', 'optimizer'):
        tiny_mar.assert_same(*(state[key] for state in states))


def test_two_processes(tiny_config, pretrained, tmp_path):
    # Batch statistics are those of a process: without them.
    changes = dict(MAIN, model__backbone__norm_eval=True, load_from=pretrained)
    hook = dict(type='DumpRankHook')
    cfg = tiny_config('two', custom_hooks=[hook], **changes)
    cfg.custom_imports = dict(imports=['tiny_mar'])
    cfg.dump(str(tmp_path / 'tiny.py'))
    run_two('dist_train.sh', tmp_path / 'tiny.py', 2)
    first = tiny_mar.state_of_ranks(tmp_path / 'two')
    one = dict(train(tiny_config('one', **changes)).model.state_dict())
    assert one['memory.visited'].any()
    tiny_mar.assert_close_states(first, one)

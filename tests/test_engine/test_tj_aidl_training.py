import copy

import pytest
import tiny_mar
import tiny_tj_aidl
import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from tiny_mar import train
from tiny_tj_aidl import ADAPT, END

from mmreid.registry import HOOKS
from mmreid.synthetic import write_viper
from mmreid.utils import load_row


@pytest.fixture
def config(benchmark, tmp_path):
    def config(work_dir='run', **changes):
        return tiny_tj_aidl.tiny_config(
            benchmark, str(tmp_path / work_dir), **changes
        )

    return config


@pytest.fixture(scope='module')
def whole(benchmark, tmp_path_factory):
    """A run that nothing interrupts."""
    work_dir = tmp_path_factory.mktemp('tj_aidl') / 'whole'
    return train(tiny_tj_aidl.tiny_config(benchmark, str(work_dir)))


def last_states(work_dir):
    """All that a later iteration would start from."""
    checkpoint = torch.load(f'{work_dir}/iter_{END}.pth', weights_only=True)
    return {
        key: checkpoint[key]
        for key in ('state_dict', 'optimizer', 'param_schedulers')
    }


def stage_weights(work_dir, stage):
    checkpoint = torch.load(f'{work_dir}/stage_{stage}.pth', weights_only=True)
    return checkpoint['state_dict']


def part(weights, name):
    """Of one module, its name cut off."""
    return {
        key.removeprefix(f'{name}.'): value
        for key, value in weights.items()
        if key.startswith(f'{name}.')
    }


def test_copy_is_the_branch_as_it_left_the_joint_stage(whole):
    identity, joint, adapted = (
        stage_weights(whole.work_dir, stage)
        for stage in ('identity', 'joint', 'adapt')
    )
    # No other stage has, or keeps, soft labels' networks.
    for weights in (identity, joint):
        assert not any(key.startswith('source') for key in weights)
    for ours, theirs in (
        ('source_backbone', 'backbone'),
        ('source_classifier', 'attribute_classifier'),
    ):
        assert part(adapted, ours)
        tiny_mar.assert_same(part(adapted, ours), part(joint, theirs))
        # The branch itself went on.
        for key, value in part(adapted, theirs).items():
            assert not torch.equal(value, part(joint, theirs)[key]), key
    for name in ('identity_backbone', 'identity_classifier'):
        tiny_mar.assert_same(part(adapted, name), part(joint, name))
        assert any(
            not torch.equal(value, part(identity, name)[key])
            for key, value in part(joint, name).items()
        )


def kill(event, at, priority='LOWEST'):
    return dict(type='KillHook', event=event, at=at, priority=priority)


@pytest.mark.parametrize(
    'hook',
    [
        # iter_8.pth is written, stage_joint.pth is not.
        kill('after_stage', 'joint', 'HIGHEST'),
        # The branch has been copied, and nothing saved.
        kill('before_train_iter', ADAPT),
        # The last checkpoint is iter_12.pth, which holds the copy.
        kill('after_train_iter', ADAPT + 4),
    ],
    ids=lambda hook: f'{hook["event"]}-{hook["at"]}',
)
def test_resumed_run_equals_whole_run(config, whole, hook):
    with pytest.raises(tiny_mar.Killed):
        train(config(custom_hooks=[hook]))
    runner = train(config(resume=True))
    tiny_mar.assert_same(
        last_states(runner.work_dir), last_states(whole.work_dir)
    )


def test_adapting_the_joint_checkpoint(config, whole):
    runner = train(
        config(
            load_from=f'{whole.work_dir}/stage_joint.pth',
            train_cfg__first_stage='adapt',
        )
    )
    tiny_mar.assert_same(
        dict(runner.model.state_dict()), dict(whole.model.state_dict())
    )
    # Of another target: the copy is made anew, of what was loaded.
    again = train(
        config(
            'again',
            load_from=f'{runner.work_dir}/stage_adapt.pth',
            train_cfg__first_stage='adapt',
        )
    )
    tiny_mar.assert_same(
        part(again.model.state_dict(), 'source_backbone'),
        part(runner.model.state_dict(), 'backbone'),
    )


def test_adapting_what_is_not_joint(config, tmp_path):
    identity = train(config('identity', train_cfg__order=['identity']))
    for name in (f'iter_{identity.max_iters}.pth', 'stage_identity.pth'):
        file = f'{identity.work_dir}/{name}'
        changes = dict(load_from=file, train_cfg__first_stage='adapt')
        with pytest.raises(
            ValueError,
            match="left by the stage 'identity': .* stage_joint.pth",
        ):
            train(config(**changes))

    # To test, or to resume what comes before, it is good.
    untrained = config(
        'test', **changes, train_dataloader__dataset__source__data_root='none'
    )
    assert Runner.from_cfg(untrained).test()['mAP'] > 0
    before_joint = kill('before_train_iter', 4)
    with pytest.raises(tiny_mar.Killed):
        train(
            config('on', **changes, resume=True, custom_hooks=[before_joint])
        )

    # Of another origin.
    changes['load_from'] = str(tmp_path / 'other.pth')
    weights = stage_weights(identity.work_dir, 'identity')
    torch.save(weights, changes['load_from'])
    begun = kill('after_train_iter', ADAPT)
    with pytest.raises(tiny_mar.Killed):
        train(config('other', **changes, custom_hooks=[begun]))


def test_wrapped_model_trains_the_same(config, whole, tmp_path, monkeypatch):
    """One process under DistributedDataParallel."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    # MMEngine would set them for good.
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setenv('MKL_NUM_THREADS', '1')
    dist.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    try:
        runner = train(
            config(launcher='pytorch', model_wrapper_cfg__device_ids=None)
        )
        assert is_model_wrapper(runner.model)
        tiny_mar.assert_same(
            dict(runner.model.module.state_dict()),
            dict(whole.model.state_dict()),
        )
    finally:
        dist.destroy_process_group()


def test_online_soft_labels_need_no_copy(config):
    runner = train(config(model__soft_labels='online'))
    assert runner.model.source_backbone is None


@HOOKS.register_module(force=True)
class StageWeightsHook(Hook):
    """Keeps the weights as each stage begins and ends."""

    def __init__(self):
        self.seen = {}

    def before_stage(self, runner, stage):
        weights = copy.deepcopy(runner.model.state_dict())
        self.seen[stage.name] = [weights]

    def after_stage(self, runner, stage):
        weights = copy.deepcopy(runner.model.state_dict())
        self.seen[stage.name].append(weights)


IDENTITY = {'identity_backbone', 'identity_classifier'}
ATTRIBUTE = {'backbone', 'attribute_classifier'}


@pytest.mark.parametrize(
    'variant, trained, retrieved',
    [
        ('attribute-only', dict(attribute=ATTRIBUTE), {'backbone'}),
        ('identity-only', dict(identity=IDENTITY), {'identity_backbone'}),
        (
            'independent',
            dict(identity=IDENTITY, attribute=ATTRIBUTE),
            {'identity_backbone', 'backbone'},
        ),
        (
            'joint-supervision',
            dict(joint=ATTRIBUTE | {'identity_classifier'}),
            {'backbone'},
        ),
        (
            'wo-adaptation',
            dict(identity=IDENTITY, joint=IDENTITY | ATTRIBUTE | {'head'}),
            {'backbone'},
        ),
    ],
)
def test_baselines(config, variant, trained, retrieved):
    """All of these modules and nothing else, at the tiny size."""
    file = f'{tiny_mar.CONFIGS}/tj_aidl/table.py'
    baseline = load_row(file, f'tj_aidl_market_viper_{variant}')
    order = baseline.train_cfg.order
    stage = dict(batch_size=dict(source=8), max_iters=2)
    cfg = config(
        model__type=baseline.model.type,
        train_cfg=dict(
            order=order,
            stages=dict(_delete_=True, **dict.fromkeys(order, stage)),
        ),
        custom_hooks=[dict(type='StageWeightsHook')],
    )
    feature = baseline.model.get('retrieval_feature')
    if feature:
        cfg.model.retrieval_feature = feature
    if baseline.model.type == 'JointSupervision':
        del cfg.model['head']
    runner = train(cfg)
    seen = tiny_mar.hook_of(runner, StageWeightsHook).seen
    assert list(seen) == list(trained)
    for name, modules in trained.items():
        before, after = seen[name]
        assert modules <= {key.split('.')[0] for key in after}
        for key, value in after.items():
            changed = not torch.equal(value, before[key])
            assert changed == (key.split('.')[0] in modules), (name, key)

    model = runner.model.eval()
    images = torch.randn(2, 3, 32, 16)
    with torch.no_grad():
        features = model.extract_feat(images)
        for name, module in model.named_children():
            altered = copy.deepcopy(module)
            for parameter in altered.parameters():
                parameter.mul_(1.1)
            setattr(model, name, altered)
            changed = not torch.equal(model.extract_feat(images), features)
            setattr(model, name, module)
            assert changed == (name in retrieved), name
    assert 0 < runner.test()['mAP'] <= 100


def stages(**batch_sizes):
    return dict(
        train_cfg=dict(
            order=list(batch_sizes),
            stages=dict(
                _delete_=True,
                **{
                    name: dict(batch_size=size, max_iters=2)
                    for name, size in batch_sizes.items()
                },
            ),
        )
    )


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            dict(model__num_identities=9),
            'num_identities is 9, but the source has 6 .* set it to 6',
        ),
        (
            dict(model__num_attributes=23),
            'num_attributes is 23, but the source has 27 .* set it to 27',
        ),
        (
            dict(train_dataloader__dataset__source__age='one_hot'),
            'num_attributes is 27, but the source has 30 .* set it to 30',
        ),
        (
            dict(train_dataloader__dataset__source__attribute_file=None),
            "'joint' learns attributes.*source needs attribute_file",
        ),
        (
            stages(main=dict(source=4)),
            "TJAIDL has the stages .* runs 'main': rename it",
        ),
        (
            stages(joint=dict(source=4, target=4)),
            "'joint' of TJAIDL learns from source images.*dict.source=",
        ),
        (
            stages(adapt=dict(source=4)),
            "'adapt' of TJAIDL learns from target images.*dict.target=",
        ),
    ],
)
def test_what_does_not_fit(config, changes, message):
    with pytest.raises(ValueError, match=message):
        train(config(**changes))


def test_identities_alone_need_no_attributes(config):
    train(
        config(
            train_dataloader__dataset__source__attribute_file=None,
            **stages(identity=dict(source=4)),
        )
    )


def test_checkpoint_of_another_source(config, whole):
    with pytest.raises(ValueError, match='27 classes on 32 .* 23 on 32'):
        train(
            config(
                load_from=f'{whole.work_dir}/stage_joint.pth',
                train_cfg__order=['adapt'],
                model__num_attributes=23,
                # Whose attributes would contradict it before.
                train_dataloader__dataset__source=None,
            )
        )


def test_does_not_adapt_to_test_images(config, tmp_path):
    write_viper(str(tmp_path), num_ids=4, size=(16, 32))
    cfg = config()
    target = cfg.train_dataloader.dataset.target
    target.type, target.data_root = 'VIPeR', str(tmp_path / 'VIPeR')
    with pytest.raises(ValueError, match='VIPeR as it is holds the images'):
        train(cfg)
    # What comes before reads the source alone.
    cfg.train_cfg.order = ['identity']
    cfg.work_dir = str(tmp_path / 'source')
    train(cfg)


def test_refuses_the_weights_of_another_model(config, whole, tmp_path):
    weights = stage_weights(whole.work_dir, 'joint')
    shared = {
        key: value
        for key, value in weights.items()
        if key.split('.')[0] not in ('head', 'identity_backbone')
    }
    file = str(tmp_path / 'stage_joint.pth')
    torch.save(dict(state_dict=shared, meta={}), file)
    cfg = config(load_from=file, train_cfg__first_stage='adapt')
    with pytest.raises(
        ValueError,
        match=r'another model than TJAIDL.*lacks.*\(identity_back.*, head.enc',
    ):
        train(cfg)


def test_stage_without_batch_size(config):
    cfg = config()
    del cfg.train_cfg.stages.joint['batch_size']
    with pytest.raises(ValueError, match="'joint' must have a batch_size"):
        train(cfg)

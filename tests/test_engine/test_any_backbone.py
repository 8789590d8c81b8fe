"""Every method trains with every kind of backbone, by config alone."""

import pytest
import tiny_mar
import tiny_tj_aidl
import torch
from tiny_mar import SOURCE_IDS, train

OSNET = dict(type='OSNet', width=0.25)
VIT = dict(
    type='mmpretrain.VisionTransformer',
    arch=dict(
        embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32
    ),
    img_size=(32, 16),
    patch_size=8,
)
# All tokens, (N, L, C).
TOKENS = dict(VIT, out_type='raw')
TIMM = dict(
    type='mmpretrain.TIMMBackbone',
    model_name='vit_small_patch16_224',
    img_size=(32, 16),
    pretrained=False,
)


def config_of(method, benchmark, work_dir, backbone, iterations):
    if method == 'MAR':
        cfg = tiny_mar.tiny_config(benchmark, work_dir)
        cfg.default_hooks.pair_mining.start_epoch = 0
        order = ['pretrain', 'main']
    elif method == 'Baseline':
        cfg = tiny_mar.tiny_config(benchmark, work_dir)
        del cfg.default_hooks['pair_mining']
        cfg.model = dict(
            type=method,
            num_identities=SOURCE_IDS,
            data_preprocessor=cfg.model.data_preprocessor,
        )
        sampler = dict(source=dict(type='IdentitySampler', num_instances=2))
        cfg.train_cfg.stages.train = dict(
            batch_size=dict(source=8), sampler=sampler
        )
        order = ['train']
    else:
        cfg = tiny_tj_aidl.tiny_config(benchmark, work_dir)
        cfg.model.type = method
        order = ['identity', 'joint', 'adapt']
        if method == 'JointSupervision':
            del cfg.model['head']
            order = ['joint']
    cfg.model.backbone = dict(backbone)
    cfg.train_cfg.order = order
    for name in order:
        stage = cfg.train_cfg.stages[name]
        stage.update(max_epochs=None, max_iters=iterations, param_scheduler=[])
    return cfg


def check(method, benchmark, tmp_path, backbone, length, iterations):
    cfg = config_of(
        method, benchmark, str(tmp_path / 'run'), backbone, iterations
    )
    runner = train(cfg)
    assert runner.iter == iterations * len(cfg.train_cfg.order)
    model = runner.model
    assert model.feature_length == length
    for name, parameter in model.named_parameters():
        assert parameter.isfinite().all(), name
    with torch.no_grad():
        assert model.extract_feat(torch.randn(2, 3, 32, 16)).shape == (
            2,
            length,
        )
    assert 0 < runner.test()['mAP'] <= 100


METHODS = pytest.mark.parametrize(
    'method', ['MAR', 'TJAIDL', 'JointSupervision', 'Baseline']
)


@METHODS
@pytest.mark.parametrize(
    'backbone, length',
    [(OSNET, 512), (VIT, 16), (TOKENS, 16)],
    ids=['osnet', 'vit', 'tokens'],
)
def test_two_iterations(method, backbone, length, benchmark, tmp_path):
    check(method, benchmark, tmp_path, backbone, length, 2)


@pytest.mark.slow
@METHODS
@pytest.mark.parametrize(
    'backbone, length', [(OSNET, 512), (TIMM, 384)], ids=['osnet', 'timm']
)
def test_ten_iterations(method, backbone, length, benchmark, tmp_path):
    if backbone is TIMM:
        pytest.importorskip('timm')
    check(method, benchmark, tmp_path, backbone, length, 10)


def test_random_layers_resume_exactly(benchmark, tmp_path):
    """What dropout and stochastic depth draw is that of the iteration."""

    def config(name):
        backbone = dict(VIT, drop_path_rate=0.5, drop_rate=0.3)
        work_dir = str(tmp_path / name)
        return config_of('Baseline', benchmark, work_dir, backbone, 6)

    whole = train(config('whole')).model.state_dict()
    cfg = config('run')
    cfg.custom_hooks = [dict(type='KillHook', event='after_train_iter', at=4)]
    with pytest.raises(tiny_mar.Killed):
        train(cfg)
    cfg = config('run')
    cfg.resume = True
    resumed = train(cfg).model.state_dict()
    tiny_mar.assert_same(dict(resumed), dict(whole))

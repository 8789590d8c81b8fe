import copy

import mar_reference as ref
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.models import GlobalAveragePooling
from torch import nn

from mmreid.models.necks import BNNeck, GeM, GlobalPooling
from mmreid.registry import MODELS


@pytest.mark.parametrize('shape', [(3, 5, 7, 4), (1, 2, 1, 1), (2, 3, 16, 8)])
@pytest.mark.parametrize(
    'memory_format', [torch.contiguous_format, torch.channels_last]
)
def test_maps_bit_for_bit_as_global_average_pooling(shape, memory_format):
    torch.manual_seed(0)
    maps = torch.randn(shape).to(memory_format=memory_format)
    results = []
    weights = torch.randn(shape[:2])
    for neck in (GlobalPooling(), GlobalAveragePooling()):
        x = maps.clone().requires_grad_()
        output = neck(x)
        (gradient,) = torch.autograd.grad((output * weights).sum(), x)
        results.append((output, gradient))
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)
    assert results[0][0].shape == shape[:2]


def test_tokens():
    x = ref.double(2, 5, 3)
    rows = torch.stack([(t[1] + t[2] + t[3] + t[4]) / 4 for t in x])
    ref.close(GlobalPooling(tokens='mean')(x), rows)
    assert torch.equal(GlobalPooling()(x), torch.stack([t[0] for t in x]))
    for prefix, count in ((0, 5), (3, 2)):
        neck = MODELS.build(
            dict(type='GlobalPooling', tokens='mean', num_prefix_tokens=prefix)
        )
        ref.close(neck(x), sum(x[:, i] for i in range(prefix, 5)) / count)


def test_vectors_and_the_last_of_several_outputs():
    neck = GlobalPooling()
    vectors = torch.randn(2, 3)
    maps = torch.randn(2, 4, 8, 4)
    assert torch.equal(neck(vectors), vectors)
    assert torch.equal(neck((maps, vectors)), vectors)
    assert torch.equal(neck([vectors, maps]), neck(maps))
    # Whatever a map's size, and for one image.
    assert neck(torch.randn(1, 1, 1, 1)).shape == (1, 1)


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(tokens='max'), "must be 'cls' or 'mean', but is 'max'"),
        (dict(num_prefix_tokens=0), "is 0: .* 1 or more with tokens='cls'"),
        (dict(tokens='mean', num_prefix_tokens=-1), 'is -1: .* 0 or more'),
    ],
)
def test_bad_options_of_global_pooling(kwargs, message):
    with pytest.raises(ValueError, match=message):
        GlobalPooling(**kwargs)


@pytest.mark.parametrize('neck', [GlobalPooling(), GeM()])
def test_shape_that_cannot_be_pooled(neck):
    with pytest.raises(ValueError, match=r'\(2, 3, 4, 5, 6\)'):
        neck(torch.zeros(2, 3, 4, 5, 6))


def test_gem_values_and_gradients():
    """Those of p as well: one loop per channel."""
    neck = GeM(p=2.5).double()
    maps = ref.double(2, 3, 4, 2)
    # Some are below the smallest value that counts.
    assert (maps < 0).any() and (maps > 0).any()

    def ours(x, p):
        return (
            torch.func.functional_call(neck, dict(p=p), (x,)) * weights
        ).sum()

    def loops(x, p):
        total = 0
        for i in range(2):
            for c in range(3):
                values = [v.clamp(min=1e-6) ** p for v in x[i, c].flatten()]
                mean = sum(values) / len(values)
                total = total + weights[i, c] * mean ** (1 / p)
        return total.squeeze()

    weights = ref.double(2, 3, seed=1)
    ref.assert_same(ours, loops, maps, neck.p.detach())


def test_gem_is_between_mean_and_maximum():
    maps = torch.rand(2, 3, 4, 2) + 0.1
    torch.testing.assert_close(GeM(p=1)(maps), maps.mean((2, 3)))
    largest = maps.amax((2, 3))
    torch.testing.assert_close(GeM(p=60)(maps), largest, rtol=0.05, atol=0)
    assert (GeM()(maps) > maps.mean((2, 3))).all()
    assert (GeM()(maps) < largest).all()


def test_gem_of_tokens_and_outputs():
    tokens = torch.rand(2, 9, 3) + 0.1
    for prefix in (0, 1, 5):
        neck = MODELS.build(dict(type='GeM', num_prefix_tokens=prefix))
        expected = (tokens[:, prefix:] ** 3).mean(1) ** (1 / 3)
        torch.testing.assert_close(neck(tokens), expected)
    maps = torch.rand(2, 3, 4, 2)
    assert torch.equal(GeM()((tokens, maps)), GeM()(maps))
    one = torch.rand(1, 1, 1, 1) + 0.1
    torch.testing.assert_close(GeM()(one), one[:, :, 0, 0])


def test_gem_of_vectors():
    with pytest.raises(ValueError, match=r'\(2, 3\).* neck to GlobalPooling'):
        GeM()(torch.zeros(2, 3))


def test_exponent_of_gem():
    assert GeM().p.tolist() == [3]
    assert GeM().p.requires_grad
    assert not GeM(p=4, p_trainable=False).p.requires_grad
    with pytest.raises(ValueError, match='1 or more, but is 0.5'):
        GeM(p=0.5)


def test_bn_neck_is_batch_norm_without_shift():
    neck = MODELS.build(dict(type='BNNeck', in_channels=3)).double()
    reference = nn.BatchNorm1d(3).double()
    reference.bias.requires_grad_(False)
    weight = torch.tensor([0.5, 2.0, -1.0]).double()
    neck.bn.weight.data.copy_(weight)
    reference.weight.data.copy_(weight)
    for training in (True, True, False):
        neck.train(training)
        reference.train(training)
        x = (ref.double(6, 3) * 2 + 5).requires_grad_()
        results = []
        for module in (neck, reference):
            module.zero_grad()
            output = module(x)
            (gradient,) = torch.autograd.grad(
                (output * ref.double(6, 3, seed=1)).sum(), x, retain_graph=True
            )
            results.append((output, gradient))
        for ours, theirs in zip(*results, strict=True):
            ref.close(ours, theirs)
    ref.close(neck.bn.running_mean, reference.running_mean)
    ref.close(neck.bn.running_var, reference.running_var)
    with pytest.raises(ValueError):
        neck(torch.zeros(2, 3, 4, 4))


def test_bn_neck_has_no_shift_to_train():
    neck = BNNeck(4)
    assert [name for name, _ in neck.named_parameters()] == ['bn.weight']
    assert torch.equal(neck.bn.weight, torch.ones(4))
    wrapper = build_optim_wrapper(
        neck,
        dict(
            optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1),
            paramwise_cfg=dict(norm_decay_mult=0),
        ),
    )
    (group,) = wrapper.optimizer.param_groups
    assert group['params'][0] is neck.bn.weight
    assert group['weight_decay'] == 0


def test_bn_neck_is_copied_converted_and_restored():
    neck = BNNeck(4)
    neck(torch.randn(8, 4))
    for other in (
        copy.deepcopy(neck),
        nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(neck)),
    ):
        assert other.bn.bias is None
        assert other.state_dict().keys() == neck.state_dict().keys()
    other = BNNeck(4)
    other.load_state_dict(neck.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(other.eval()(x), neck.eval()(x))

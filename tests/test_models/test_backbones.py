import mar_reference as ref
import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import ResNet

from mmreid.models.backbones import LinearEndResNet


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(depth=18),
        dict(depth=50),
        dict(depth=50, style='caffe', deep_stem=True, avg_down=True),
        dict(depth=50, strides=(1, 2, 2, 1)),
    ],
    ids=['18', '50', 'caffe', 'last stride 1'],
)
@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
def test_is_resnet_without_the_final_relu(kwargs, training):
    kwargs = dict(kwargs, stem_channels=8, base_channels=8)
    torch.manual_seed(0)
    ours = LinearEndResNet(**kwargs).double()
    theirs = ResNet(**kwargs).double()
    theirs.load_state_dict(ours.state_dict())
    # mmpretrain's train() returns nothing.
    ours.train(training)
    theirs.train(training)
    images = ref.double(3, 3, 64, 32)
    (output,) = ours(images)
    (expected,) = theirs(images)
    ref.close(F.relu(output), expected)
    assert (output < 0).float().mean() > 0.1
    for name, buffer in theirs.named_buffers():
        ref.close(ours.get_buffer(name), buffer)


def test_gradient_reaches_every_parameter():
    backbone = LinearEndResNet(depth=18, stem_channels=4, base_channels=4)
    (output,) = backbone(torch.randn(4, 3, 64, 32))
    # The mean of a normalised map has no gradient: weigh it.
    (output * torch.randn_like(output)).sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name

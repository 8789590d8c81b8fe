import os.path as osp
import runpy

import pytest
import tiny_mar
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmreid.models.backbones import OSNet

TOOL = osp.join(
    tiny_mar.ROOT, 'tools', 'model_converters', 'osnet_onnx_to_mmreid.py'
)
CONVERTER = runpy.run_path(TOOL)


def network(seed):
    torch.manual_seed(seed)
    return OSNet(width=0.25)


@pytest.fixture
def trained():
    """Batch norms that do something, with the statistics of their images."""
    net = network(0)
    images = torch.rand(64, 3, 64, 32) * 2 - 1
    for norm in net.modules():
        if isinstance(norm, _BatchNorm):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
            norm.momentum = None
    with torch.no_grad():
        net.train()(images)
    return net.eval(), images


def export(net):
    """What an export folds: W w / sqrt(v + eps), b - m w / sqrt(v + eps)."""
    layers = []
    for module in CONVERTER['calls_of'](net):
        weights = [p.detach().clone() for p in module.parameters()]
        if isinstance(module, nn.BatchNorm2d):
            op, (kernel,) = layers.pop()
            scale = module.weight / (module.running_var + module.eps).sqrt()
            shift = module.bias - module.running_mean * scale
            kernel = kernel * scale.view(-1, 1, 1, 1)
            layers.append((op, [kernel.detach(), shift.detach()]))
        elif isinstance(module, nn.BatchNorm1d):
            weights += [module.running_mean, module.running_var]
            layers.append(('BatchNormalization', weights))
        else:
            op = 'Conv' if isinstance(module, nn.Conv2d) else 'Gemm'
            layers.append((op, weights))
    return layers


def test_folded_batch_norms_come_back(trained):
    net, images = trained
    found = network(1)
    with torch.no_grad():
        wanted, features = net(images)[0], found.eval()(images)[0]
        assert (features - wanted).abs().max() > 0.1
        norms = CONVERTER['fill'](found, export(net))
        # All but that of the fully connected layer.
        assert len(norms) == 79
        torch.testing.assert_close(
            found.eval()(images)[0], wanted, rtol=1e-3, atol=1e-3
        )
        # Without statistics it is another function in training.
        wanted_in_training = net.train()(images)[0]
        gap = (found.train()(images)[0] - wanted_in_training).abs().mean()
        CONVERTER['fill'](found, export(net.eval()))
        CONVERTER['unfold'](found, norms, images.split(16))
        torch.testing.assert_close(
            found.eval()(images)[0], wanted, rtol=1e-3, atol=1e-3
        )
        left = (found.train()(images)[0] - wanted_in_training).abs().mean()
    assert left < gap / 5


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda layers: layers[:-1], "has nothing where 'fc.1' has Batch"),
        (lambda layers: layers + layers[-2:], 'has more layers than'),
        (lambda layers: layers[1:], r'has \(16, 16, 1, 1\) values where'),
        (
            lambda layers: [('Gemm', layers[0][1]), *layers[1:]],
            "has Gemm where 'conv1.conv' has Conv",
        ),
    ],
)
def test_another_network(trained, change, message):
    layers = change(export(trained[0]))
    with pytest.raises(ValueError, match=message):
        CONVERTER['fill'](network(1), layers)


def test_classifier_is_left_out(trained):
    net, images = trained
    classifier = ('Gemm', [torch.rand(5, 512), torch.rand(5)])
    found = network(1)
    CONVERTER['fill'](found, [*export(net), classifier])
    with torch.no_grad():
        torch.testing.assert_close(
            found.eval()(images)[0], net(images)[0], rtol=1e-3, atol=1e-3
        )


def test_a_file(trained, tmp_path, benchmark, run_main, capsys):
    onnx = pytest.importorskip('onnx')
    net, images = trained
    nodes, values = [], []
    for i, (op, weights) in enumerate(export(net)):
        names = [f'{i}.{j}' for j in range(len(weights))]
        nodes.append(onnx.helper.make_node(op, ['x', *names], ['y']))
        values += [
            onnx.numpy_helper.from_array(w.detach().numpy(), name)
            for w, name in zip(weights, names, strict=True)
        ]
    graph = onnx.helper.make_graph(nodes, 'net', [], [], values)
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / 'net.onnx'))
    cfg = tiny_mar.tiny_config(benchmark, str(tmp_path / 'run'))
    cfg.model.backbone = dict(type='OSNet', width=0.25)
    cfg.dump(str(tmp_path / 'tiny.py'))
    out = tmp_path / 'net.pth'
    assert (
        run_main(TOOL, tmp_path / 'tiny.py', tmp_path / 'net.onnx', out) == 0
    )
    assert '79 batch norms with the statistics of 21 images' in (
        capsys.readouterr().out
    )
    found = network(1)
    weights = torch.load(out, weights_only=True)['state_dict']
    found.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(
            found.eval()(images)[0], net(images)[0], rtol=1e-3, atol=1e-3
        )
    (tmp_path / 'net.onnx').write_text('no graph')
    assert (
        run_main(TOOL, tmp_path / 'tiny.py', tmp_path / 'net.onnx', out) == 1
    )
    assert 'is no ONNX file' in capsys.readouterr().err

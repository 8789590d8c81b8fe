import pytest
import torch
from torch import nn

from mmreid.models import IIAHead
from mmreid.registry import MODELS


def test_encoder_and_its_mirror():
    """Of the paper: 1024-512-128-m, and back."""
    head = MODELS.build(
        dict(type='IIAHead', num_attributes=27, in_channels=1024)
    ).double()
    layers = [m for m in head.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in layers] == [
        *((1024, 512), (512, 128), (128, 27)),
        *((27, 128), (128, 512), (512, 1024)),
    ]
    x = torch.randn(3, 1024, dtype=torch.double)
    embedding, reconstruction = head(x)

    def dense(x, layer):
        return x @ layer.weight.t() + layer.bias

    # Hidden layers are rectified; embedding and output are not.
    first, second, third = layers[:3]
    e = dense(dense(dense(x, first).relu(), second).relu(), third)
    torch.testing.assert_close(embedding, e)
    assert (embedding < 0).any() and (embedding > 0).any()
    first, second, third = layers[3:]
    out = dense(dense(dense(e, first).relu(), second).relu(), third)
    torch.testing.assert_close(reconstruction, out)
    assert (reconstruction < 0).any() and (reconstruction > 0).any()


def test_no_hidden_layer():
    head = IIAHead(3, 5, hidden_channels=())
    embedding, reconstruction = head(torch.randn(2, 5))
    assert embedding.shape == (2, 3) and reconstruction.shape == (2, 5)


@pytest.mark.parametrize(
    'sizes', [(4, 6, (5,)), (3, 7, (5,)), (3, 6, (8,)), (3, 6, (5, 5))]
)
def test_checkpoint_of_another_size(sizes):
    head = IIAHead(3, 6, (5,))
    other = IIAHead(*sizes)
    head.load_state_dict(IIAHead(3, 6, (5,)).state_dict())
    message = '-'.join(map(str, other.widths)) + '.*, but the config has 6-5-3'
    with pytest.raises(ValueError, match=message):
        head.check_weights(other.state_dict(), '')

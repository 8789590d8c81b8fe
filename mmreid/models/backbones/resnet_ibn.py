import torch
from mmcv.cnn import build_norm_layer
from mmpretrain.models.backbones import ResNet
from torch import Tensor, nn

from mmreid.registry import MODELS


class _IBN(nn.Module):
    """Instance norm of the first half of the channels, batch norm of the rest.

    Args:
        channels (int): Number of channels.
        norm_cfg (dict): Config of the batch norm.
    """

    def __init__(self, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        half = channels // 2
        self.IN = nn.InstanceNorm2d(half, affine=True)
        self.BN = build_norm_layer(norm_cfg, channels - half)[1]

    def forward(self, x: Tensor) -> Tensor:
        half = self.IN.num_features
        # Of a part of the channels, batch norm is slower than the copy.
        rest = x[:, half:].contiguous()
        return torch.cat([self.IN(x[:, :half]), self.BN(rest)], 1)


@MODELS.register_module()
class ResNetIBN(ResNet):
    """ResNet-IBN-a: a ResNet that looks less at the style of a camera.

    In the first three stages, half of the channels have instance norm after
    the first convolution of each block, which removes contrast and colour
    cast; the others keep batch norm, and with it what they tell about the
    content (`Two at Once: Enhancing Learning and Generalization Capacities
    via IBN-Net <https://arxiv.org/abs/1807.09441>`_). The last stage is that
    of a ResNet.

    All options are those of :class:`mmpretrain.models.ResNet`, such as
    ``depth=50`` and, for a map twice as large, ``strides=(1, 2, 2, 1)``.
    Parameters have the names of the authors' weights, so
    ``init_cfg=dict(type='Pretrained', ...)`` loads those as they are.
    """

    def make_res_layer(self, **kwargs) -> nn.Sequential:
        """Build one stage, see :class:`mmpretrain.models.ResNet`."""
        layer = super().make_res_layer(**kwargs)
        # The stages before it.
        if len(self.res_layers) < 3:
            for block in layer:
                norm = _IBN(block.mid_channels, self.norm_cfg)
                setattr(block, block.norm1_name, norm)
        return layer

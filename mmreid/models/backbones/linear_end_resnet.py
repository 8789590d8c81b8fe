from mmpretrain.models.backbones import ResNet
from torch import Tensor, nn

from mmreid.registry import MODELS


@MODELS.register_module()
class LinearEndResNet(ResNet):
    """ResNet whose last block has no final ReLU, as MAR's network.

    Features may then be negative, so cosines use the whole sphere. All
    options are those of :class:`mmpretrain.models.ResNet`; of its outputs
    there is the last only.
    """

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(N, 3, H, W) images to a one-tuple of (N, C, h, w)."""
        if self.deep_stem:
            x = self.stem(x)
        else:
            x = self.relu(self.norm1(self.conv1(x)))
        x = self.maxpool(x)
        *layers, last = (getattr(self, name) for name in self.res_layers)
        *blocks, end = last
        for module in (*layers, *blocks):
            x = module(x)
        return (self._without_relu(end, x),)

    @staticmethod
    def _without_relu(block: nn.Module, x: Tensor) -> Tensor:
        """The block as mmpretrain computes it, up to the final ReLU."""
        out = block.relu(block.norm1(block.conv1(x)))
        out = block.norm2(block.conv2(out))
        if hasattr(block, 'conv3'):
            out = block.norm3(block.conv3(block.relu(out)))
        identity = x if block.downsample is None else block.downsample(x)
        return block.drop_path(out) + identity

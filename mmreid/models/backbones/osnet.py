from collections import OrderedDict

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS

# Per variant: whether the first convolution is followed by instance norm
# instead of batch norm; then, for the six blocks, whether they have instance
# norm and on which side of the addition: 'inside' the residual or 'after'.
NORMS = dict(
    plain=(False, (None,) * 6),
    ibn=(True, ('after', 'after', None, None, None, None)),
    ain=(True, ('inside', 'inside', None, 'inside', 'inside', None)),
)
# At width 1: of the first convolution, then of the three pairs of blocks.
CHANNELS = (64, 256, 384, 512)


def _conv_norm(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    stride: int = 1,
    norm: type[nn.Module] | None = nn.BatchNorm2d,
    relu: bool = True,
) -> nn.Sequential:
    """A convolution and, if wanted, a norm and a ReLU."""
    layer = nn.Sequential()
    layer.conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        kernel_size // 2,
        bias=False,
    )
    if norm is not None:
        # Its name in the published weights, whichever norm it is.
        layer.bn = norm(out_channels, affine=True)
    if relu:
        layer.relu = nn.ReLU(inplace=True)
    return layer


def _lite_3x3(channels: int) -> nn.Sequential:
    """The paper's Lite 3x3: pointwise, then depthwise convolution."""
    layer = nn.Sequential()
    layer.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
    layer.conv2 = nn.Conv2d(
        channels, channels, 3, padding=1, groups=channels, bias=False
    )
    layer.bn = nn.BatchNorm2d(channels)
    layer.relu = nn.ReLU(inplace=True)
    return layer


class _AggregationGate(nn.Sequential):
    """Weighs each channel of a stream by what the stream sees."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, channels // 16, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(x)


class _Block(nn.Module):
    """Omni-scale residual block.

    Stream t is t Lite 3x3 layers, so it sees 2t + 1 pixels. One gate, shared
    by the four streams, weighs their channels before they are summed.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        instance_norm: str | None,
        streams_in_list: bool,
    ) -> None:
        super().__init__()
        channels = out_channels // 4
        self.conv1 = _conv_norm(in_channels, channels)
        streams = [
            nn.Sequential(*[_lite_3x3(channels) for _ in range(t)])
            for t in (1, 2, 3, 4)
        ]
        # The published weights of OSNet-AIN name them otherwise.
        self.streams_in_list = streams_in_list
        if streams_in_list:
            self.conv2 = nn.ModuleList(
                nn.Sequential(OrderedDict(layers=each)) for each in streams
            )
        else:
            self.conv2a = streams[0][0]
            self.conv2b, self.conv2c, self.conv2d = streams[1:]
        self.gate = _AggregationGate(channels)
        inside = instance_norm == 'inside'
        self.conv3 = _conv_norm(
            channels,
            out_channels,
            norm=None if inside else nn.BatchNorm2d,
            relu=False,
        )
        self.downsample = None
        if in_channels != out_channels:
            self.downsample = _conv_norm(in_channels, out_channels, relu=False)
        self.instance_norm = instance_norm
        if instance_norm:
            self.IN = nn.InstanceNorm2d(out_channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        streams = (
            self.conv2
            if self.streams_in_list
            else (self.conv2a, self.conv2b, self.conv2c, self.conv2d)
        )
        reduced = self.conv1(x)
        # All before the gate: the order of layers in published exports.
        seen = [stream(reduced) for stream in streams]
        out = sum(self.gate(each) for each in seen)
        out = self.conv3(out)
        if self.instance_norm == 'inside':
            out = self.IN(out)
        out = out + (x if self.downsample is None else self.downsample(x))
        if self.instance_norm == 'after':
            out = self.IN(out)
        return out.relu()


@MODELS.register_module()
class OSNet(BaseModule):
    """OSNet, a small network made for person re-identification.

    Its blocks see several scales at once and learn, image by image, how to
    mix them (`Omni-Scale Feature Learning for Person Re-Identification
    <https://arxiv.org/abs/1905.00953>`_). The variants add instance norm,
    which takes the style of a camera out of the maps (`Learning Generalisable
    Omni-Scale Representations for Person Re-Identification
    <https://arxiv.org/abs/1910.06827>`_).

    The network pools its map itself and sends it through a fully connected
    layer, batch norm and ReLU, called ``fc``: what leaves that layer is the
    feature, at test time too, so it is part of the backbone and not a neck.
    The identity classifier is not. Parameters have the names of torchreid,
    the authors' code, so ``init_cfg=dict(type='Pretrained', ...)`` loads its
    files as they are.

    Args:
        width (float): Multiplies the number of channels of every layer but
            the last (the paper's beta); published are 0.25, 0.5, 0.75 and 1.
            Defaults to 1.0.
        variant (str): Defaults to 'plain'.

            - ``'plain'``: batch norm only;
            - ``'ibn'``: instance norm after the first convolution, and after
              the addition in the first two blocks (``osnet_ibn_x1_0``);
            - ``'ain'``: instance norm where the architecture search of the
              second paper found it best: after the first convolution, and
              inside the residual of all blocks but the third and the last
              (``osnet_ain_*``).

        feature_channels (int): Length D of the feature. Defaults to 512.
        init_cfg (dict, optional): Initialisation. Defaults to the authors':
            Kaiming by the fan-out for convolutions, a normal distribution of
            deviation 0.01 for ``fc``.

    Raises:
        InputError: If ``variant`` is none of the three, or ``width`` is below
            0.25: the gates of the narrowest blocks would have no channel.

    Examples:
        >>> import torch
        >>> from mmreid.models.backbones import OSNet
        >>> backbone = OSNet(width=0.25).eval()
        >>> backbone(torch.zeros(2, 3, 256, 128))[0].shape
        torch.Size([2, 512])
    """

    def __init__(
        self,
        width: float = 1.0,
        variant: str = 'plain',
        feature_channels: int = 512,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            init_cfg
            or [
                dict(type='Kaiming', layer='Conv2d'),
                dict(type='Normal', layer='Linear', std=0.01),
            ]
        )
        if variant not in NORMS:
            raise InputError(
                f'variant of OSNet must be one of {tuple(NORMS)}, but is '
                f'{variant!r}.'
            )
        if width < 0.25:
            raise InputError(
                f'width of OSNet must be at least 0.25, but is {width}.'
            )
        first, *outs = (int(number * width) for number in CHANNELS)
        first_is_instance_norm, block_norms = NORMS[variant]
        self.conv1 = _conv_norm(
            3,
            first,
            7,
            stride=2,
            norm=nn.InstanceNorm2d
            if first_is_instance_norm
            else nn.BatchNorm2d,
        )
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        # Names of the published weights: of OSNet-AIN, the transitions stand
        # beside their blocks, of the others they are the last of them.
        ain = variant == 'ain'
        in_channels = first
        for i, out_channels in enumerate(outs):
            stage = nn.Sequential()
            for norm in block_norms[2 * i : 2 * i + 2]:
                stage.append(_Block(in_channels, out_channels, norm, ain))
                in_channels = out_channels
            self.add_module(f'conv{i + 2}', stage)
            if i < 2:
                transition = nn.Sequential(
                    _conv_norm(out_channels, out_channels),
                    nn.AvgPool2d(2, stride=2),
                )
                if ain:
                    self.add_module(f'pool{i + 2}', transition)
                else:
                    stage.append(transition)
        self.conv5 = _conv_norm(in_channels, in_channels)
        self.global_avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(in_channels, feature_channels),
            nn.BatchNorm1d(feature_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(N, 3, H, W) images to a one-tuple of (N, D) features."""
        *layers, fc = self.children()
        for layer in layers:
            x = layer(x)
        return (fc(x.flatten(1)),)


@MODELS.register_module()
class LinearEndOSNet(OSNet):
    """OSNet whose feature has no final ReLU, for MAR.

    Features may then be negative, so cosines use the whole sphere. All
    options are those of :class:`OSNet`, and so are the weights that it loads.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fc = self.fc[:-1]

import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS


class _Float32OnCPU:
    """Keeps a convolution out of autocast on a CPU.

    In bfloat16, oneDNN has only its slow reference for the gradient of a
    strided depthwise convolution: 40 times the time of float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != 'cpu' or not torch.is_autocast_enabled('cpu'):
            return super().forward(x)
        with torch.autocast('cpu', enabled=False):
            return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class _StridedConv2d(_Float32OnCPU, nn.Conv2d):
    pass


class _StridedSameConv2d(_Float32OnCPU, Conv2dAdaptivePadding):
    pass


@MODELS.register_module()
class MobileNetV1(BaseModule):
    """MobileNet, the backbone of TJ-AIDL.

    A 3x3 convolution, then 13 depthwise separable ones, each convolution
    followed by batch norm and activation (`MobileNets: Efficient
    Convolutional Neural Networks for Mobile Vision Applications
    <https://arxiv.org/abs/1704.04861>`_, Table 1). The map is 32 times
    smaller than the image, rounded up.

    Weights come from ``init_cfg=dict(type='Pretrained', checkpoint=...)``,
    converted by ``tools/model_converters/mobilenet_v1_to_mmreid.py``, which
    also says what ``padding``, ``norm_cfg`` and ``act_cfg`` they need.

    Args:
        width_mult (float): Multiplies the number of channels of every layer;
            none gets fewer than 8. Defaults to 1.0.
        padding (str): Of the convolutions with stride 2. ``'symmetric'``: 1
            on every side, as in PyTorch; ``'same'``: as in TensorFlow, where
            an even length gets 0 before and 1 after. Defaults to
            'symmetric'.
        norm_cfg (dict, optional): Config of the norm. Defaults to batch norm
            with the eps of the original, 1e-3.
        act_cfg (dict, optional): Config of the activation. Defaults to ReLU6.
        init_cfg (dict, optional): Initialisation. Defaults to Kaiming by the
            fan-in, which a depthwise convolution needs: its fan-out counts
            all channels, although each output reads one.

    Raises:
        InputError: If ``padding`` is neither of the two, or ``width_mult``
            is not positive.
    """

    # See StrictPretrainedInit.
    pretrained_hint = (
        'Make weights for MobileNetV1 with width_mult=1 by '
        'tools/model_converters/mobilenet_v1_to_mmreid.py.'
    )

    # Output channels at width 1 and stride of the 13 separable convolutions.
    arch = (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    )

    def __init__(
        self,
        width_mult: float = 1.0,
        padding: str = 'symmetric',
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            init_cfg
            or dict(
                type='Kaiming',
                # Found by the name of a class or of its direct parents.
                layer=['Conv2d', 'Conv2dAdaptivePadding'],
                mode='fan_in',
            )
        )
        if padding not in ('symmetric', 'same'):
            raise InputError(
                "padding of MobileNetV1 must be 'symmetric' or 'same', but "
                f'is {padding!r}.'
            )
        if width_mult <= 0:
            raise InputError(
                'width_mult of MobileNetV1 must be positive, but is '
                f'{width_mult}.'
            )
        cfg = dict(
            norm_cfg=norm_cfg or dict(type='BN', eps=1e-3),
            act_cfg=act_cfg or dict(type='ReLU6'),
        )

        def channels(number: int) -> int:
            return max(int(number * width_mult), 8)

        same = padding == 'same'
        in_channels = channels(32)
        # In a Sequential, for BaseModule would have each ConvModule undo
        # init_cfg by its own initialisation.
        self.layers = nn.Sequential(
            ConvModule(
                3,
                in_channels,
                3,
                stride=2,
                padding=1,
                conv_cfg=dict(type=Conv2dAdaptivePadding) if same else None,
                **cfg,
            )
        )
        strided = dict(type=_StridedSameConv2d if same else _StridedConv2d)
        for number, stride in self.arch:
            # With stride 1, "SAME" is 1 on every side as well.
            self.layers.append(
                ConvModule(
                    in_channels,
                    in_channels,
                    3,
                    stride=stride,
                    padding=1,
                    groups=in_channels,
                    conv_cfg=strided if stride == 2 else None,
                    **cfg,
                )
            )
            out_channels = channels(number)
            self.layers.append(ConvModule(in_channels, out_channels, 1, **cfg))
            in_channels = out_channels

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(N, 3, H, W) images to a one-tuple of (N, C, H / 32, W / 32)."""
        return (self.layers(x),)

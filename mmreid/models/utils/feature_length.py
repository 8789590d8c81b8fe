import torch
from mmengine.utils import to_2tuple
from torch import Tensor, nn

from mmreid.errors import InputError

# Some of mmpretrain accept no other, and all of any size accept it.
SIZE = (224, 224)


def feature_length(backbone: nn.Module, neck: nn.Module) -> int:
    """Find the length D of the feature of a backbone and a neck.

    One black image goes through both, in evaluation mode and without
    gradient. Nothing stays of it: neither batch norm statistics nor the
    random state nor the mode of any module change. On the meta device it
    costs no computation.

    Args:
        backbone (nn.Module): Takes images (N, 3, H, W). The image's size is
            the one the backbone was built for, if it has one, or else
            ImageNet's, 224 x 224.
        neck (nn.Module): Takes what the backbone gives.

    Returns:
        int: D.

    Raises:
        InputError: If the neck does not give one vector per image, or the
            backbone is one of timm whose maps have the channels last.

    Examples:
        >>> from mmreid.models.backbones import OSNet
        >>> from mmreid.models.necks import GlobalPooling
        >>> from mmreid.models.utils import feature_length
        >>> feature_length(OSNet(width=0.25), GlobalPooling())
        512
    """
    like = next(backbone.parameters(), torch.zeros(()))
    height, width = _image_size(backbone)
    image = torch.zeros(
        1, 3, height, width, dtype=like.dtype, device=like.device
    )
    modes = {
        module: module.training
        for part in (backbone, neck)
        for module in part.modules()
    }
    try:
        # By hand, for some train() methods do more than set the mode.
        for module in modes:
            module.training = False
        with (
            torch.random.fork_rng([like.device] if like.is_cuda else []),
            torch.no_grad(),
        ):
            outputs = backbone(image)
            feature = neck(outputs)
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not (
        isinstance(feature, Tensor)
        and feature.dim() == 2
        and len(feature) == 1
    ):
        raise InputError(
            f'Of one image of {height}x{width} pixels, the backbone '
            f'{type(backbone).__name__} makes {_shape(outputs)}, and of that '
            f'the neck {type(neck).__name__} makes {_shape(feature)}, but a '
            "vector (1, D) is needed: set the neck to type='GlobalPooling'."
        )
    return feature.shape[1]


def _image_size(backbone: nn.Module) -> tuple[int, int]:
    """Height and width that the backbone accepts."""
    # Of mmpretrain.TIMMBackbone.
    model = getattr(backbone, 'timm_model', backbone)
    if getattr(model, 'output_fmt', None) == 'NHWC':
        raise InputError(
            f'{type(model).__name__} of timm gives maps (N, h, w, C), which '
            'necks would pool over the wrong dimensions: use the network of '
            'this kind that mmpretrain has, such as '
            "type='mmpretrain.SwinTransformer'."
        )
    embedding = getattr(model, 'patch_embed', None)
    for owner, name in (
        (model, 'img_size'),
        (embedding, 'img_size'),
        # Of mmpretrain's Swin.
        (embedding, 'init_input_size'),
    ):
        size = getattr(owner, name, None)
        if size is not None:
            return to_2tuple(size)
    # Of timm, for what has another size but no patches.
    return getattr(model, 'default_cfg', {}).get('input_size', SIZE)[-2:]


def _shape(outputs: object) -> str:
    """The shape of a tensor, or those of a tuple's, to be read."""
    if isinstance(outputs, Tensor):
        return str(tuple(outputs.shape))
    if isinstance(outputs, tuple | list):
        return 'a tuple of ' + ', '.join(map(_shape, outputs))
    return type(outputs).__name__

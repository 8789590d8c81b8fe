import torch.nn.functional as F
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS


@MODELS.register_module()
class GlobalPooling(nn.Module):
    """Makes one vector per image of whatever a backbone gives.

    Of several outputs it takes the last. A map is averaged over its
    positions, as by :class:`mmpretrain.models.GlobalAveragePooling`; a vector
    stays as it is; of tokens, the output of a transformer, it takes the class
    token or the mean of the others.

    The transformers of mmpretrain pick the class token themselves and give a
    vector, so that ``tokens`` matters for those that give all tokens, such as
    most of timm (``mmpretrain.TIMMBackbone``). The default makes both give the
    same feature: the one that the usual pretraining (ImageNet, DINO) has
    trained. Transformers without a class token, such as SigLIP's, need
    ``tokens='mean', num_prefix_tokens=0``.

    Args:
        tokens (str): What tokens give: ``'cls'``, the first of them, or
            ``'mean'``, the mean of those that stand for parts of the image.
            Defaults to 'cls'.
        num_prefix_tokens (int): How many of the first tokens stand for no
            part of the image and are left out of the mean: 1 for a class
            token, 5 if four registers follow it. Defaults to 1.

    Raises:
        InputError: If ``tokens`` is neither of the two, or
            ``num_prefix_tokens`` is negative, or 0 although the class token
            is wanted.

    Examples:
        >>> import torch
        >>> from mmreid.models.necks import GlobalPooling
        >>> maps = torch.arange(8.0).view(1, 2, 2, 2)
        >>> GlobalPooling()((maps,))
        tensor([[1.5000, 5.5000]])
    """

    def __init__(self, tokens: str = 'cls', num_prefix_tokens: int = 1):
        super().__init__()
        if tokens not in ('cls', 'mean'):
            raise InputError(
                "tokens of GlobalPooling must be 'cls' or 'mean', but is "
                f'{tokens!r}.'
            )
        if num_prefix_tokens < (tokens == 'cls'):
            raise InputError(
                f'num_prefix_tokens of GlobalPooling is {num_prefix_tokens}: '
                "it must be 0 or more, and 1 or more with tokens='cls'."
            )
        self.tokens = tokens
        self.num_prefix_tokens = num_prefix_tokens

    def forward(self, inputs: Tensor | tuple[Tensor, ...]) -> Tensor:
        """Pool.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): A map (N, C, h, w), a
                vector (N, C) or tokens (N, L, C); or a tuple that ends with
                one of these.

        Returns:
            Tensor: The vectors. Shape (N, C).

        Raises:
            InputError: If it has another number of dimensions.
        """
        x = inputs if isinstance(inputs, Tensor) else inputs[-1]
        if x.dim() == 4:
            return F.adaptive_avg_pool2d(x, 1).flatten(1)
        if x.dim() == 3:
            if self.tokens == 'cls':
                return x[:, 0]
            return x[:, self.num_prefix_tokens :].mean(1)
        if x.dim() == 2:
            return x
        raise InputError(
            f'GlobalPooling got the shape {tuple(x.shape)}: it needs a map '
            '(N, C, h, w), tokens (N, L, C) or a vector (N, C).'
        )

from mmpretrain.models.necks import GeneralizedMeanPooling
from torch import Tensor

from mmreid.errors import InputError
from mmreid.registry import MODELS


@MODELS.register_module()
class GeM(GeneralizedMeanPooling):
    """Generalised-mean pooling: ``mean(x ** p) ** (1 / p)``, per channel.

    Between average (p = 1) and maximum pooling (`Fine-tuning CNN Image
    Retrieval with No Human Annotation <https://arxiv.org/abs/1711.02512>`_).
    It is made for maps that end with a ReLU: what is below 1e-6 counts as
    1e-6. Weight decay would pull a trainable p towards 0: exclude it with
    ``paramwise_cfg=dict(custom_keys={'neck.p': dict(decay_mult=0)})``.

    Args:
        p (float): The exponent, at least 1. Defaults to 3.0.
        p_trainable (bool): Whether p is learnt. Defaults to True.
        num_prefix_tokens (int): Of a transformer's tokens, how many of the
            first stand for no part of the image and are left out: 1 for a
            class token. Defaults to 1.

    Raises:
        InputError: If ``p`` is below 1.
    """

    def __init__(
        self,
        p: float = 3.0,
        p_trainable: bool = True,
        num_prefix_tokens: int = 1,
    ) -> None:
        if p < 1:
            raise InputError(f'p of GeM must be 1 or more, but is {p}.')
        super().__init__(p=p, p_trainable=p_trainable)
        self.num_prefix_tokens = num_prefix_tokens

    def forward(self, inputs: Tensor | tuple[Tensor, ...]) -> Tensor:
        """Pool.

        Args:
            inputs (Tensor or tuple[Tensor, ...]): A map (N, C, h, w) or
                tokens (N, L, C); or a tuple that ends with one of these.

        Returns:
            Tensor: The vectors. Shape (N, C).

        Raises:
            InputError: If it is a vector, or has another number of
                dimensions.
        """
        x = inputs if isinstance(inputs, Tensor) else inputs[-1]
        if x.dim() == 3:
            x = x[:, self.num_prefix_tokens :].transpose(1, 2).unsqueeze(3)
        if x.dim() != 4:
            raise InputError(
                f'GeM got the shape {tuple(x.shape)}, but pools maps '
                '(N, C, h, w) or tokens (N, L, C): for a backbone that gives '
                'vectors, set the neck to GlobalPooling; for a vision '
                "transformer of mmpretrain, set out_type='featmap'."
            )
        return super().forward(x)

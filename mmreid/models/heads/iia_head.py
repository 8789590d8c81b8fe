from collections.abc import Sequence
from itertools import pairwise

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS


@MODELS.register_module()
class IIAHead(BaseModule):
    """Identity Inferred Attribute encoder-decoder of TJ-AIDL (Fig. 1c).

    Fully connected: the encoder is D-512-128-m, the decoder its mirror
    m-128-512-D. The paper names no activation: our reading is ReLU after the
    hidden layers, and a linear embedding, which is aligned with logits, and
    output. Weights start as ``nn.Linear``'s do, unless ``init_cfg`` is given.

    Args:
        num_attributes (int): Length m of the embedding e_IIA.
        in_channels (int): Length D of the identity feature.
        hidden_channels (Sequence[int]): Widths of the encoder's hidden
            layers. Defaults to (512, 128).
        init_cfg (dict, optional): Initialisation. Defaults to None.
    """

    def __init__(
        self,
        num_attributes: int,
        in_channels: int,
        hidden_channels: Sequence[int] = (512, 128),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.widths = [in_channels, *hidden_channels, num_attributes]
        self.encoder = _mlp(self.widths)
        self.decoder = _mlp(self.widths[::-1])

    def forward(self, identity_features: Tensor) -> tuple[Tensor, Tensor]:
        """Encode and decode.

        Args:
            identity_features (Tensor): x_id, (N, D).

        Returns:
            tuple[Tensor]: The embedding e_IIA, (N, m), and the
            reconstruction f_IIA(x_id), (N, D).
        """
        embedding = self.encoder(identity_features)
        return embedding, self.decoder(embedding)

    def check_weights(self, state_dict: dict, prefix: str) -> None:
        """Raise an ``InputError`` if a checkpoint has other widths."""
        # Layers 0, 2, 4, ...: those between are activations.
        stored, layer = [], f'{prefix}encoder.0.weight'
        while layer in state_dict:
            shape = state_dict[layer].shape
            stored = [*(stored or shape[1:]), shape[0]]
            layer = f'{prefix}encoder.{2 * (len(stored) - 1)}.weight'
        if stored and stored != self.widths:
            stored, own = (
                '-'.join(map(str, w)) for w in (stored, self.widths)
            )
            raise InputError(
                f'The checkpoint holds an IIA encoder of widths {stored}, but '
                f'the config has {own}: set model.backbone, '
                'model.head.hidden_channels and model.num_attributes to those '
                'of the checkpoint, or take another checkpoint.'
            )


def _mlp(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])

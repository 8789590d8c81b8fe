import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreid.registry import MODELS

from .base import BaseReID


class AttributeReID(BaseReID):
    """Base of the algorithms that learn from identities and attributes.

    Two linear classifiers, initialised as ``nn.Linear`` is. Their losses are
    means over the images of a rank; ranks have equally many, so that the mean
    over ranks which DistributedDataParallel takes of the gradients is that of
    the global batch.

    Args:
        num_identities (int): Identities of the source.
        num_attributes (int): Attributes m of the source.
        in_channels (int): Length D of the backbone's feature.
        **kwargs: See :class:`BaseReID`.
    """

    stage_domains: dict[str, str] = {}
    """The stages of the training, and which domain's images each takes."""

    def __init__(
        self,
        num_identities: int,
        num_attributes: int,
        in_channels: int,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.in_channels = in_channels
        self.identity_classifier = nn.Linear(in_channels, num_identities)
        self.attribute_classifier = nn.Linear(in_channels, num_attributes)
        self.loss_attribute = MODELS.build(dict(type='AttributeLoss'))

    def run_backbone(self, backbone: nn.Module, inputs: Tensor) -> Tensor:
        """Pooled features of a branch, (N, D).

        Raises:
            ValueError: If D is not ``in_channels``.
        """
        features = super().run_backbone(backbone, inputs)
        if features.shape[1] != self.in_channels:
            raise ValueError(
                f'The backbone gives {features.shape[1]} channels, but '
                f'model.in_channels is {self.in_channels}: set it to '
                f'{features.shape[1]}.'
            )
        return features

    def check_stage(self, stage: str) -> None:
        """Raise a ``ValueError`` if the algorithm has no such stage."""
        if stage not in self.stage_domains:
            raise ValueError(
                f'{type(self).__name__} has the stages '
                f'{[*self.stage_domains]}, but the training loop runs '
                f'{stage!r}: rename it in train_cfg.'
            )

    def identity_losses(self, features: Tensor, data_samples: dict) -> dict:
        """L_id (Eq. 1), softmax cross entropy, and its accuracy in percent.

        Args:
            features (Tensor): (N, D).
            data_samples (dict): With ``person_id`` (N, ).
        """
        logits = self.identity_classifier(features)
        person_id = data_samples['person_id']
        with torch.no_grad():
            correct = (logits.argmax(1) == person_id).float()
        return dict(
            loss_id=F.cross_entropy(logits, person_id),
            source_accuracy=correct.mean() * 100,
        )

    def attribute_losses(self, logits: Tensor, labels: Tensor) -> dict:
        """L_att (Eq. 2), and its accuracy in percent of what is known.

        Args:
            logits (Tensor): (N, m).
            labels (Tensor): (N, m), 1, 0 or, unknown, -1.
        """
        loss = self.loss_attribute(logits, labels)
        with torch.no_grad():
            correct = ((logits > 0) == labels).float()
            num_known = (labels >= 0).sum().clamp(min=1)
        return dict(
            loss_att=loss, attribute_accuracy=correct.sum() / num_known * 100
        )

    @staticmethod
    def attribute_labels(data_samples: dict) -> Tensor:
        """The batch's ``attributes``, (N, m).

        Raises:
            ValueError: If it has none.
        """
        if 'attributes' not in data_samples:
            raise ValueError(
                f'The stage {data_samples["stage"]!r} learns attributes, but '
                "the batch has no 'attributes': the source needs "
                'attribute_file.'
            )
        return data_samples['attributes']

    def predict(self, inputs: Tensor, data_samples: dict) -> list[dict]:
        """One dict, ``data_samples`` with ``features`` and
        ``attribute_scores``, probabilities (N, m), added."""
        features = self.run_backbone(self.backbone, inputs)
        return [
            dict(
                features=self.retrieve(inputs, features),
                attribute_scores=self.attribute_classifier(features).sigmoid(),
                **data_samples,
            )
        ]

    def retrieve(self, inputs: Tensor, features: Tensor) -> Tensor:
        """The retrieval features, given those of ``backbone``, (N, D)."""
        return features

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        for what, option in (
            ('identity', 'num_identities'),
            ('attribute', 'num_attributes'),
        ):
            name = f'{what}_classifier'
            stored = state_dict.get(f'{prefix}{name}.weight')
            own = getattr(self, name).weight
            if stored is not None and stored.shape != own.shape:
                raise ValueError(
                    f'The checkpoint holds an {what} classifier of '
                    f'{stored.shape[0]} classes on {stored.shape[1]} '
                    f'channels, but the config has {own.shape[0]} on '
                    f'{own.shape[1]}: set model.{option}, and '
                    'model.in_channels with the backbone, to those of the '
                    'checkpoint, or take another checkpoint.'
                )
        super()._load_from_state_dict(state_dict, prefix, *args)

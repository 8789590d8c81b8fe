from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS
from mmreid.structures import Stage

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
        loss_id (dict): Config of L_id (Eq. 1). Defaults to
            ``dict(type='CrossEntropyLoss')``.
        loss_att (dict): Config of L_att (Eq. 2). Defaults to
            ``dict(type='AttributeLoss')``.
        **kwargs: See :class:`BaseReID`.
    """

    def __init__(
        self,
        num_identities: int,
        num_attributes: int,
        loss_id: dict = dict(type='CrossEntropyLoss'),  # noqa: B006
        loss_att: dict = dict(type='AttributeLoss'),  # noqa: B006
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        length = self.feature_length
        self.identity_classifier = nn.Linear(length, num_identities)
        self.attribute_classifier = nn.Linear(length, num_attributes)
        self.loss_id = MODELS.build(loss_id)
        self.loss_att = MODELS.build(loss_att)

    def check(self, stages: Sequence[Stage], dataset) -> None:
        """See :meth:`BaseReID.check`.

        Raises:
            InputError: If the model has not as many identities or attributes
                as the source.
        """
        super().check(stages, dataset)
        read = {
            label
            for stage in stages
            for labels in self.stages[stage.name].values()
            for label in labels
        }
        source = dataset.domains.get('source')
        if 'person_id' in read:
            _check_size(
                'num_identities',
                self.identity_classifier.out_features,
                'identities',
                source.num_identities,
            )
        if source and source.attribute_names:
            _check_size(
                'num_attributes',
                self.attribute_classifier.out_features,
                'attributes',
                len(source.attribute_names),
            )

    def identity_losses(self, features: Tensor, person_id: Tensor) -> dict:
        """L_id (Eq. 1), and its accuracy in percent.

        Args:
            features (Tensor): (N, D).
            person_id (Tensor): (N, ).
        """
        logits = self.identity_classifier(features)
        with torch.no_grad():
            correct = (logits.argmax(1) == person_id).float()
        return dict(
            loss_id=self.loss_id(logits, person_id),
            source_accuracy=correct.mean() * 100,
        )

    def attribute_losses(self, logits: Tensor, labels: Tensor) -> dict:
        """L_att (Eq. 2), and its accuracy in percent of what is known.

        Args:
            logits (Tensor): (N, m).
            labels (Tensor): (N, m), 1, 0 or, unknown, -1.
        """
        loss = self.loss_att(logits, labels)
        with torch.no_grad():
            correct = ((logits > 0) == labels).float()
            num_known = (labels >= 0).sum().clamp(min=1)
        return dict(
            loss_att=loss, attribute_accuracy=correct.sum() / num_known * 100
        )

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

    def check_weights(self, state_dict: dict, prefix: str) -> None:
        """Raise an ``InputError`` if a checkpoint has other classifiers."""
        for what, option in (
            ('identity', 'num_identities'),
            ('attribute', 'num_attributes'),
        ):
            name = f'{what}_classifier'
            stored = state_dict.get(f'{prefix}{name}.weight')
            own = getattr(self, name).weight
            if stored is not None and stored.shape != own.shape:
                raise InputError(
                    f'The checkpoint holds an {what} classifier of '
                    f'{stored.shape[0]} classes on {stored.shape[1]} '
                    f'channels, but the config has {own.shape[0]} on '
                    f'{own.shape[1]}: set model.{option} and the backbone to '
                    'those of the checkpoint, or take another checkpoint.'
                )


def _check_size(option: str, size: int, what: str, num: int) -> None:
    if size != num:
        raise InputError(
            f'model.{option} is {size}, but the source has {num} {what}: set '
            f'it to {num}.'
        )

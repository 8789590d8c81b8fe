from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS
from mmreid.structures import BatchInfo, Stage

from ..utils import gather_batch
from .base import BaseReID


@MODELS.register_module()
class Baseline(BaseReID):
    """The plain supervised method: identities, triplets, BNNeck.

    What other methods are compared with, and the source training that they
    may share (`Bag of Tricks and A Strong Baseline for Deep Person
    Re-identification <https://arxiv.org/abs/1903.07071>`_). Its only stage,
    ``train``, learns the identities of the domain ``source``: the pooled
    feature f_t is subject to the triplet loss, and, after the BNNeck, as f_i
    to the softmax cross entropy of a bias-free classifier. At test time f_i
    gives the feature, with the cosine distance.

    The losses are those of the *global* batch on every rank (see
    :func:`gather_batch`), so that triplets are mined among all its images.

    Args:
        num_identities (int): Identities of the source.
        bn_neck (dict, optional): Config of :class:`BNNeck`; ``in_channels``
            is the model's. None, the plain softmax classifier, leaves f_i =
            f_t and gives the classifier a bias. Defaults to
            ``dict(type='BNNeck')``.
        loss_id (dict): Config of the identity loss. Defaults to
            ``dict(type='CrossEntropyLoss', label_smoothing=0.1)``.
        loss_triplet (dict, optional): Config of the triplet loss, for which
            the batch needs several images of an identity
            (:class:`IdentitySampler`). None leaves it out. Defaults to
            ``dict(type='BatchHardTripletLoss', margin=0.3)``.
        **kwargs: See :class:`BaseReID`.
    """

    stages = dict(train=dict(source=['person_id']))
    fresh_heads = ('bn_neck', 'classifier')

    def __init__(
        self,
        num_identities: int,
        bn_neck: dict | None = dict(type='BNNeck'),  # noqa: B006
        loss_id: dict = dict(  # noqa: B006
            type='CrossEntropyLoss', label_smoothing=0.1
        ),
        loss_triplet: dict | None = dict(  # noqa: B006
            type='BatchHardTripletLoss', margin=0.3
        ),
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        length = self.feature_length
        self.bn_neck = bn_neck and MODELS.build(
            self.with_sizes('model.bn_neck', bn_neck, in_channels=length)
        )
        self.classifier = nn.Linear(
            length, num_identities, bias=bn_neck is None
        )
        nn.init.normal_(self.classifier.weight, std=0.001)
        self.loss_id = MODELS.build(loss_id)
        self.loss_triplet = loss_triplet and MODELS.build(loss_triplet)

    def check(self, stages: Sequence[Stage], dataset) -> None:
        """See :meth:`BaseReID.check`.

        Raises:
            InputError: If the classifier has not as many classes as the
                source has identities.
        """
        super().check(stages, dataset)
        num = dataset.domains['source'].num_identities
        if self.classifier.out_features != num:
            raise InputError(
                f'model.num_identities is {self.classifier.out_features}, '
                f'but the source has {num} identities: set it to {num}.'
            )

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """f_i, (N, 3, H, W) -> (N, D)."""
        features = self.run_backbone(self.backbone, inputs)
        return self.bn_neck(features) if self.bn_neck else features

    def loss(self, batch: dict[str, Tensor], info: BatchInfo) -> dict:
        """Losses of one batch of source images.

        Args:
            batch (dict[str, Tensor]): See :meth:`BaseReID.loss`.
            info (BatchInfo): Of the batch.

        Returns:
            dict: ``loss_id``, ``loss_triplet`` and ``source_accuracy`` in
            percent.
        """
        source = info.part(batch, 'source')
        features = self.run_backbone(self.backbone, source['inputs'])
        # Batch norms see the images of their own process, as everywhere.
        normed = self.bn_neck(features) if self.bn_neck else features
        logits = self.classifier(gather_batch(normed))
        person_id = gather_batch(source['person_id'])
        with torch.no_grad():
            correct = (logits.argmax(1) == person_id).float()
        losses = dict(
            loss_id=self.loss_id(logits, person_id),
            source_accuracy=correct.mean() * 100,
        )
        if self.loss_triplet:
            losses['loss_triplet'] = self.loss_triplet(
                gather_batch(features), person_id
            )
        return losses

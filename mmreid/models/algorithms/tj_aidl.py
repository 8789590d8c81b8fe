import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreid.registry import MODELS

from .attribute_base import AttributeReID


@MODELS.register_module()
class TJAIDL(AttributeReID):
    """Transferable joint attribute-identity deep learning.

    Implementation of `Transferable Joint Attribute-Identity Deep Learning for
    Unsupervised Person Re-Identification <https://arxiv.org/abs/1803.09786>`_.
    An identity branch (Eq. 1) and an attribute branch (Eq. 2), two networks
    of one config, and between them the IIA encoder-decoder f_IIA, which reads
    the identity feature x_id and embeds it as e_IIA beside the attribute
    logits p~_att:

    ``L_rec = |x_id - f_IIA(x_id)|^2`` (Eq. 3)
    ``L_ID-transfer = |e_IIA - p~_att|^2`` (Eq. 4)
    ``L_attr,IIA``: Eq. 2 of ``sigmoid(e_IIA)`` (Eq. 5)
    ``L_IIA = L_attr,IIA + lambda_1 L_rec + lambda_2 L_ID-transfer`` (Eq. 6)
    ``L_att-total = L_att + lambda_2 L_ID-transfer`` (Eq. 7)

    Algorithm 1 updates the identity branch by Eq. 1 alone, the IIA
    encoder-decoder by Eq. 6 alone and the attribute branch by Eq. 7 alone;
    whether a later update sees an earlier one it does not say: our reading is
    that all use the values before any. That is one backward pass through the
    sum of all terms, in which x_id is detached, as input and as target of
    the reconstruction, and lambda_2 L_ID-transfer counts once, undetached on
    both sides.

    Stages of the training loop:

    * ``identity``, on the source: L_id.
    * ``attribute``, on the source: L_att. For the ablation 'attribute only',
      and after ``identity`` for 'independent supervision'.
    * ``joint``, on the source: L_id + L_IIA + L_att.
    * ``adapt``, on the unlabelled target: L_IIA + L_att, with soft labels for
      a in Eq. 2 and 5. The identity branch is frozen: no gradient, and, our
      reading, batch norms in eval mode.

    What a stage does not train it does not run either, so its batch norms
    stay as they are, and under DistributedDataParallel its parameters are
    unused: ``find_unused_parameters=True`` is needed. The losses of a rank
    are means over its images; the gradients' mean over ranks is that of the
    global batch.

    Deployed is the attribute branch, ``backbone``: its feature, not
    normalised, with the Euclidean distance.

    Args:
        backbone (dict): Config of either branch's network. The branches are
            initialised on their own: alike if from pretrained weights.
        num_identities (int): Identities of the source. Defaults to 751.
        num_attributes (int): Attributes m of the source. Defaults to 27.
        in_channels (int): Length D of the backbone's feature. Defaults to
            1024.
        head (dict): Config of :class:`IIAHead`; ``num_attributes`` and
            ``in_channels`` are the model's. Defaults to
            ``dict(type='IIAHead')``.
        lambda1 (float): Weight of L_rec. Defaults to 10.
        lambda2 (float): Weight of L_ID-transfer. Defaults to 10.
        reduction (str): Of Eq. 3 and 4, printed as squared norms and called
            mean square errors. ``'mean'``: over the batch and the length of
            the vector; ``'sum'``: the squared norm, averaged over the batch.
            Defaults to 'mean'.
        soft_labels (str): Whose probabilities are the labels in ``adapt``,
            for which "the model learned on the source domain" leaves room.
            ``'source'``: those of the attribute branch as it was when the
            stage began, a frozen copy in eval mode, on the same augmented
            images; :class:`TJAIDLHook` makes it. ``'online'``: those of the
            attribute branch in this very forward, detached; the gradient of
            L_att is then exactly zero and L_ID-transfer alone moves the
            branch. Defaults to 'source'.
        retrieval_feature (str): ``'attribute'`` or ``'identity'``, the
            feature of that branch, or ``'concatenated'``, both, each of unit
            norm (independent supervision; the paper says nothing of
            scaling). Attribute scores are always the attribute branch's.
            Defaults to 'attribute'.
        **kwargs: See :class:`BaseReID`.

    Raises:
        ValueError: If an option is unknown, or ``head`` contradicts the
            model.
    """

    stage_domains = dict(
        identity='source', attribute='source', joint='source', adapt='target'
    )

    def __init__(
        self,
        backbone: dict,
        num_identities: int = 751,
        num_attributes: int = 27,
        in_channels: int = 1024,
        head: dict = dict(type='IIAHead'),  # noqa: B006
        lambda1: float = 10.0,
        lambda2: float = 10.0,
        reduction: str = 'mean',
        soft_labels: str = 'source',
        retrieval_feature: str = 'attribute',
        **kwargs,
    ) -> None:
        for name, value, choices in (
            ('reduction', reduction, ('mean', 'sum')),
            ('soft_labels', soft_labels, ('source', 'online')),
            (
                'retrieval_feature',
                retrieval_feature,
                ('attribute', 'identity', 'concatenated'),
            ),
        ):
            if value not in choices:
                raise ValueError(
                    f'model.{name} must be one of {choices}, but is {value!r}.'
                )
        sizes = dict(num_attributes=num_attributes, in_channels=in_channels)
        for name, value in sizes.items():
            if head.get(name, value) != value:
                raise ValueError(
                    f'model.head.{name} is {head[name]}, but model.{name} is '
                    f'{value}: leave it out of the head.'
                )
        super().__init__(
            num_identities,
            num_attributes,
            in_channels,
            backbone=backbone,
            **kwargs,
        )
        self.identity_backbone = self.build_backbone(backbone)
        self.head = MODELS.build({**head, **sizes})
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.reduction = reduction
        self.soft_labels = soft_labels
        self.retrieval_feature = retrieval_feature
        # None outside of the stage 'adapt', so that none can be stale.
        self.source_backbone = None
        self.source_classifier = None

    def loss(self, inputs: Tensor, data_samples: dict) -> dict:
        """Losses of one batch: of source images, or in ``adapt`` target ones.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (dict): Tensors ``person_id`` (N, ) and
                ``attributes`` (N, m), 1, 0 or, unknown, -1, where the stage
                learns them; and ``stage``.

        Returns:
            dict: Of ``loss_id`` (Eq. 1), ``loss_att`` (Eq. 2),
            ``loss_att_iia`` (Eq. 5), ``loss_rec`` (Eq. 3) and
            ``loss_id_transfer`` (Eq. 4), the last two weighted, those of the
            stage; ``source_accuracy`` and ``attribute_accuracy`` in percent
            where there are labels.

        Raises:
            ValueError: If there is no such stage; if it needs ``attributes``
                and they are missing or not m; or if it needs the source's
                attribute branch and that has not been copied.
        """
        stage = data_samples['stage']
        self.check_stage(stage)
        if stage == 'adapt':
            return self._adapt(inputs)
        self.source_backbone = self.source_classifier = None
        losses = {}
        if stage != 'identity':
            labels = self.attribute_labels(data_samples)
        if stage != 'attribute':
            identity = self.run_backbone(self.identity_backbone, inputs)
            losses.update(self.identity_losses(identity, data_samples))
        if stage != 'identity':
            logits = self._attribute_logits(inputs)
            losses.update(self.attribute_losses(logits, labels))
        if stage == 'joint':
            losses.update(self._iia_losses(identity.detach(), logits, labels))
        return losses

    def _adapt(self, inputs: Tensor) -> dict:
        identity = self._run_frozen(self.identity_backbone, inputs)
        logits = self._attribute_logits(inputs)
        if self.soft_labels == 'online':
            labels = logits.detach().sigmoid()
        else:
            labels = self._source_labels(inputs)
        return dict(
            loss_att=self.loss_attribute(logits, labels),
            **self._iia_losses(identity, logits, labels),
        )

    def _attribute_logits(self, inputs: Tensor) -> Tensor:
        return self.attribute_classifier(
            self.run_backbone(self.backbone, inputs)
        )

    def _iia_losses(
        self, identity: Tensor, logits: Tensor, labels: Tensor
    ) -> dict:
        """The terms of L_IIA (Eq. 6) for detached identity features."""
        embedding, reconstruction = self.head(identity)
        return dict(
            loss_att_iia=self.loss_attribute(embedding, labels),
            loss_rec=self.lambda1 * self._distance(identity, reconstruction),
            loss_id_transfer=self.lambda2 * self._distance(embedding, logits),
        )

    def _distance(self, first: Tensor, second: Tensor) -> Tensor:
        squared = (first - second).square()
        if self.reduction == 'mean':
            return squared.mean()
        return squared.sum(1).mean()

    @torch.no_grad()
    def _run_frozen(self, backbone: nn.Module, inputs: Tensor) -> Tensor:
        """Features without gradient, and batch norms as in testing."""
        training = backbone.training
        backbone.eval()
        features = self.run_backbone(backbone, inputs)
        backbone.train(training)
        return features

    @torch.no_grad()
    def _source_labels(self, inputs: Tensor) -> Tensor:
        if self.source_backbone is None:
            raise ValueError(
                "soft_labels='source' needs a copy of the attribute branch, "
                "which TJAIDLHook makes as the stage 'adapt' begins: add "
                "dict(type='TJAIDLHook') to the hooks, or set "
                "soft_labels='online'."
            )
        features = self._run_frozen(self.source_backbone, inputs)
        return self.source_classifier(features).sigmoid()

    def copy_source_branch(self) -> None:
        """Freeze a copy of the attribute branch, which gives soft labels.

        It travels in the checkpoints of the stage ``adapt``. Any step of
        another stage discards it.
        """
        self.source_backbone = copy.deepcopy(self.backbone)
        self.source_classifier = copy.deepcopy(self.attribute_classifier)
        for module in (self.source_backbone, self.source_classifier):
            module.requires_grad_(False)

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """The features of ``retrieval_feature``, (N, D) or (N, 2 D)."""
        if self.retrieval_feature == 'identity':
            return self.run_backbone(self.identity_backbone, inputs)
        return self.retrieve(inputs, self.run_backbone(self.backbone, inputs))

    def retrieve(self, inputs: Tensor, features: Tensor) -> Tensor:
        """The retrieval features, given the attribute branch's."""
        if self.retrieval_feature == 'attribute':
            return features
        identity = self.run_backbone(self.identity_backbone, inputs)
        if self.retrieval_feature == 'identity':
            return identity
        return torch.cat([F.normalize(features), F.normalize(identity)], 1)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        if f'{prefix}source_classifier.weight' in state_dict:
            # Modules for the copy that the checkpoint holds.
            self.copy_source_branch()
        else:
            self.source_backbone = self.source_classifier = None
        super()._load_from_state_dict(state_dict, prefix, *args)

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS
from mmreid.structures import BatchInfo

from .attribute_base import AttributeReID
from .base import Extract


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

    At test time the attribute branch, ``backbone``, gives the feature: not
    normalised, with the Euclidean distance.

    Args:
        backbone (dict): Config of either branch's network. The branches are
            initialised on their own: alike if from pretrained weights.
        num_identities (int): Identities of the source. Defaults to 751.
        num_attributes (int): Attributes m of the source. Defaults to 27.
        head (dict): Config of :class:`IIAHead`; ``num_attributes`` and
            ``in_channels`` are the model's. Defaults to
            ``dict(type='IIAHead')``.
        loss_rec (dict): Config of L_rec (Eq. 3), lambda_1 being its weight.
            Defaults to ``dict(type='SquaredDistanceLoss', loss_weight=10)``.
        loss_id_transfer (dict): Config of L_ID-transfer (Eq. 4), lambda_2
            being its weight. Defaults to the same.
        loss_att_iia (dict): Config of L_attr,IIA (Eq. 5). Defaults to
            ``dict(type='AttributeLoss')``.
        soft_labels (str): Whose probabilities are the labels in ``adapt``,
            for which "the model learned on the source domain" leaves room.
            ``'source'``: those of the attribute branch as it was when the
            stage began, a frozen copy in eval mode, on the same augmented
            images. ``'target-bn'``: of the same copy, its batch norms using
            the statistics of the target batch, as those of the branch that
            learns do. ``'online'``: those of the attribute branch in this
            very forward, detached; the gradient of L_att is then exactly
            zero and L_ID-transfer alone moves the branch. Defaults to
            'source'.
        attribute_from_identity (bool): Start the attribute branch of the
            stage ``joint`` from the identity branch's weights rather than
            from its own. Defaults to False, the paper's.
        eval_identity_feature (bool): Let the IIA read the x_id of eval mode
            in ``joint`` as it does in ``adapt``, at the cost of a forward.
            Defaults to False: x_id is what Eq. 1 has trained on.
        retrieval_feature (str): ``'attribute'`` or ``'identity'``, the
            feature of that branch, or ``'concatenated'``, both, each of unit
            norm (independent supervision; the paper says nothing of
            scaling). Attribute scores are always the attribute branch's.
            Defaults to 'attribute'.
        **kwargs: See :class:`AttributeReID`.

    Raises:
        InputError: If an option is unknown, or ``head`` contradicts the
            model.
    """

    stages = dict(
        identity=dict(source=['person_id']),
        attribute=dict(source=['attributes']),
        joint=dict(source=['person_id', 'attributes']),
        adapt=dict(target=[]),
    )
    follows = dict(adapt=['joint'])
    stage_state = ('source_backbone', 'source_classifier')

    def __init__(
        self,
        backbone: dict,
        num_identities: int = 751,
        num_attributes: int = 27,
        head: dict = dict(type='IIAHead'),  # noqa: B006
        loss_rec: dict = dict(  # noqa: B006
            type='SquaredDistanceLoss', loss_weight=10
        ),
        loss_id_transfer: dict = dict(  # noqa: B006
            type='SquaredDistanceLoss', loss_weight=10
        ),
        loss_att_iia: dict = dict(type='AttributeLoss'),  # noqa: B006
        soft_labels: str = 'source',
        attribute_from_identity: bool = False,
        eval_identity_feature: bool = False,
        retrieval_feature: str = 'attribute',
        **kwargs,
    ) -> None:
        for name, value, choices in (
            ('soft_labels', soft_labels, ('source', 'target-bn', 'online')),
            (
                'retrieval_feature',
                retrieval_feature,
                ('attribute', 'identity', 'concatenated'),
            ),
        ):
            if value not in choices:
                raise InputError(
                    f'model.{name} must be one of {choices}, but is {value!r}.'
                )
        super().__init__(
            num_identities, num_attributes, backbone=backbone, **kwargs
        )
        self.identity_backbone = self.build_backbone(backbone)
        self.head = MODELS.build(
            self.with_sizes(
                'model.head',
                head,
                num_attributes=num_attributes,
                in_channels=self.feature_length,
            )
        )
        self.loss_rec = MODELS.build(loss_rec)
        self.loss_id_transfer = MODELS.build(loss_id_transfer)
        self.loss_att_iia = MODELS.build(loss_att_iia)
        self.soft_labels = soft_labels
        self.attribute_from_identity = attribute_from_identity
        self.eval_identity_feature = eval_identity_feature
        self.retrieval_feature = retrieval_feature
        # None outside of the stage 'adapt', so that none can be stale.
        self.source_backbone = None
        self.source_classifier = None

    def prepare_stage(self, stage: str, extract: Extract) -> None:
        """Freeze a copy of the attribute branch as ``adapt`` begins.

        It gives the soft labels, and travels in the stage's checkpoints. As
        ``joint`` begins, start the attribute branch from the identity branch
        where ``attribute_from_identity`` says so.
        """
        self.source_backbone = self.source_classifier = None
        if stage == 'adapt' and self.soft_labels != 'online':
            self._copy_source_branch()
        if stage == 'joint' and self.attribute_from_identity:
            self.backbone.load_state_dict(self.identity_backbone.state_dict())

    def loss(self, batch: dict[str, Tensor], info: BatchInfo) -> dict:
        """Losses of one batch: of source images, or in ``adapt`` target ones.

        Args:
            batch (dict[str, Tensor]): See :meth:`BaseReID.loss`. Of target
                images no label is read.
            info (BatchInfo): Of the batch.

        Returns:
            dict: Of ``loss_id`` (Eq. 1), ``loss_att`` (Eq. 2),
            ``loss_att_iia`` (Eq. 5), ``loss_rec`` (Eq. 3) and
            ``loss_id_transfer`` (Eq. 4), weighted, those of the stage;
            ``source_accuracy`` and ``attribute_accuracy`` in percent where
            there are labels.

        Raises:
            InputError: If ``attributes`` are not m.
        """
        if info.stage == 'adapt':
            return self._adapt(info.part(batch, 'target')['inputs'])
        source = info.part(batch, 'source')
        inputs = source['inputs']
        losses = {}
        if info.stage != 'attribute':
            identity = self.run_backbone(self.identity_backbone, inputs)
            losses.update(self.identity_losses(identity, source['person_id']))
        if info.stage != 'identity':
            labels = source['attributes']
            logits = self._attribute_logits(inputs)
            losses.update(self.attribute_losses(logits, labels))
        if info.stage == 'joint':
            if self.eval_identity_feature:
                identity = self._run_frozen(self.identity_backbone, inputs)
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
            loss_att=self.loss_att(logits, labels),
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
            loss_att_iia=self.loss_att_iia(embedding, labels),
            loss_rec=self.loss_rec(identity, reconstruction),
            loss_id_transfer=self.loss_id_transfer(embedding, logits),
        )

    @torch.no_grad()
    def _run_frozen(
        self, backbone: nn.Module, inputs: Tensor, batch_norms: bool = False
    ) -> Tensor:
        """Features without gradient, and all but ``batch_norms`` in eval."""
        training = backbone.training
        backbone.eval()
        if batch_norms:
            for module in backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.train()
        features = self.run_backbone(backbone, inputs)
        backbone.train(training)
        return features

    @torch.no_grad()
    def _source_labels(self, inputs: Tensor) -> Tensor:
        features = self._run_frozen(
            self.source_backbone, inputs, self.soft_labels == 'target-bn'
        )
        return self.source_classifier(features).sigmoid()

    def _copy_source_branch(self) -> None:
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
            self._copy_source_branch()
        else:
            self.source_backbone = self.source_classifier = None
        super()._load_from_state_dict(state_dict, prefix, *args)

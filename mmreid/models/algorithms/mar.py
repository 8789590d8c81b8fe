from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor

from mmreid.errors import InputError
from mmreid.registry import MODELS
from mmreid.structures import BatchInfo, Stage

from ..losses import camera_statistics
from ..utils import gather_batch
from .base import BaseReID, Extract


@MODELS.register_module()
class MAR(BaseReID):
    """Deep soft multilabel reference learning.

    Implementation of `Unsupervised Person Re-identification by Soft
    Multilabel Learning <https://arxiv.org/abs/1903.06325>`_:

    ``L_MAR = L_MDL + lambda_1 L_CML + lambda_2 (L_AL + beta L_RJ)``
    (Eq. 9, 10).

    In the stage ``pretrain`` the loss is L_AL alone, without unit norm; in
    the stage ``main`` it is L_MAR on the unit sphere. As ``main`` begins, one
    deterministic pass in eval mode with test transforms over every image (the
    published code takes one augmented epoch) gives the scale of the cosines
    if it is to be measured, the initial threshold T and the references of
    L_CML. Source and target images go through the backbone separately,
    source first: batch normalisation sees one domain at a time.

    Every loss is that of the *global* batch on every rank (see
    :func:`gather_batch`), so threshold, references and memory, which live
    in buffers, are equal on all ranks.

    Args:
        head (dict): Config of :class:`ReferenceAgentHead`; ``in_channels``
            is the model's.
        miner (dict, optional): Config of the pair miner. None trains without
            L_MDL. Defaults to ``dict(type='SoftMultilabelMiner')``.
        memory (dict, optional): Config of :class:`SoftMultilabelMemory`. None
            mines with the batch's own soft multilabels, the paper's text.
            Defaults to ``dict(type='SoftMultilabelMemory')``.
        references (dict, optional): Config of :class:`CameraReferences`. None
            takes as references of L_CML the mean and standard deviation over
            the batch's target images of all cameras, with gradient: the
            paper's text. Defaults to ``dict(type='CameraReferences')``.
        loss_pretrain (dict): Config of L_AL in the stage ``pretrain``.
            Defaults to ``dict(type='CrossEntropyLoss')``.
        loss_al (dict): Config of L_AL (Eq. 7). Defaults to
            ``dict(type='CrossEntropyLoss', loss_weight=50)``.
        loss_rj (dict): Config of L_RJ (Eq. 8). Defaults to
            ``dict(type='RJLoss', loss_weight=10)``, lambda_2 beta.
        loss_cml (dict): Config of L_CML (Eq. 6). Defaults to
            ``dict(type='CMLLoss', loss_weight=2e-4)``.
        loss_mdl (dict): Config of L_MDL (Eq. 4). Defaults to
            ``dict(type='MDLLoss')``.
        **kwargs: See :class:`BaseReID`.

    Attributes:
        mined_pairs (tuple[Tensor, Tensor, Tensor], optional): Target images
            and kind of the pairs of the last step, for diagnostics: first
            and second (k, ), and whether positive (k, ).
    """

    stages = dict(
        pretrain=dict(source=['person_id']),
        main=dict(source=['person_id'], target=['camera_id']),
    )
    follows = dict(main=['pretrain'])
    stage_state = ('memory', 'references', 'miner')

    def __init__(
        self,
        head: dict,
        miner: dict | None = dict(type='SoftMultilabelMiner'),  # noqa: B006
        memory: dict | None = dict(  # noqa: B006
            type='SoftMultilabelMemory'
        ),
        references: dict | None = dict(  # noqa: B006
            type='CameraReferences'
        ),
        loss_pretrain: dict = dict(type='CrossEntropyLoss'),  # noqa: B006
        loss_al: dict = dict(  # noqa: B006
            type='CrossEntropyLoss', loss_weight=50
        ),
        loss_rj: dict = dict(type='RJLoss', loss_weight=10),  # noqa: B006
        loss_cml: dict = dict(type='CMLLoss', loss_weight=2e-4),  # noqa: B006
        loss_mdl: dict = dict(type='MDLLoss'),  # noqa: B006
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.head = MODELS.build(
            self.with_sizes(
                'model.head', head, in_channels=self.feature_length
            )
        )
        self.miner = miner and MODELS.build(miner)
        self.memory = memory and MODELS.build(memory)
        self.references = references and MODELS.build(references)
        self.loss_pretrain = MODELS.build(loss_pretrain)
        self.loss_al = MODELS.build(loss_al)
        self.loss_rj = MODELS.build(loss_rj)
        self.loss_cml = MODELS.build(loss_cml)
        self.loss_mdl = MODELS.build(loss_mdl)
        self.mining = True
        self.mined_pairs = None

    def mine(self, enabled: bool) -> None:
        """Mine pairs from now on, or not.

        While it does not, L_MDL is zero, memory and threshold untouched.
        """
        self.mining = enabled

    def check(self, stages: Sequence[Stage], dataset) -> None:
        """See :meth:`BaseReID.check`; empty memory for the target images.

        Raises:
            InputError: If the agents are not as many as the auxiliary
                identities, or if the mining ratio gives no pair.
        """
        super().check(stages, dataset)
        self.check_agents(dataset)
        for stage in stages:
            num = stage.batch_size.get('target', 0)
            if num and self.miner and not self.miner.num_similar(num):
                raise InputError(
                    f'The mining ratio {self.miner.ratio} of the '
                    f'{num * (num - 1) // 2} pairs of {num} target images in '
                    'a batch is less than one pair, so nothing would be '
                    'mined: enlarge batch_size.target of the stage or '
                    'model.miner.ratio.'
                )
        if self.memory and 'target' in dataset.domains:
            self.memory.allocate(
                len(dataset.domains['target']),
                self.head.num_reference_persons,
            )

    def check_agents(self, dataset) -> None:
        """See whether there is an agent for each auxiliary identity."""
        num_identities = dataset.domains['source'].num_identities
        if self.head.num_agents != num_identities:
            raise InputError(
                f'model.head.num_agents is {self.head.num_agents}, but the '
                f'auxiliary set has {num_identities} identities: set it to '
                f'{num_identities}.'
            )

    @torch.no_grad()
    def prepare_stage(self, stage: str, extract: Extract) -> None:
        """Measure scale, threshold and references as ``main`` begins."""
        if stage != 'main':
            return
        head = self.head
        if head.measures_scale:
            source = extract('source')
            agents = head.agents[source.person_id]
            head.scale.copy_((source.features * agents).sum(1).mean())
            print_log(
                'Scale of the cosines, the average own-class product over '
                f'{len(source)} source images: {head.scale.item():.2f}',
                logger='current',
            )
        target = extract('target')
        log_soft_multilabel = self.log_soft_multilabel(target.features)
        if self.references:
            self.references.init(log_soft_multilabel, target.camera_id)
        if self.miner:
            self.miner.prepare(log_soft_multilabel.exp_())
        if self.memory:
            self.memory.clear()

    def loss(self, batch: dict[str, Tensor], info: BatchInfo) -> dict:
        """Losses of one batch.

        Args:
            batch (dict[str, Tensor]): See :meth:`BaseReID.loss`. Of target
                images no identity is read.
            info (BatchInfo): Of the batch.

        Returns:
            dict: Weighted losses, and diagnostics without 'loss' in their
            name.
        """
        part = info.part(batch, 'source')
        source = gather_batch(self.extract_feat(part['inputs']))
        person_id = gather_batch(part['person_id'])
        if info.stage == 'pretrain':
            logits = self.head.logits(source)
            return dict(
                loss_al=self.loss_pretrain(logits, person_id),
                source_accuracy=self._accuracy(logits, person_id),
            )

        source = F.normalize(source)
        part = info.part(batch, 'target')
        target = F.normalize(gather_batch(self.extract_feat(part['inputs'])))

        agents = self.head.unit_agents()
        logits = self.head.scaled_cosine(source, agents)
        loss_al = self.loss_al(logits, person_id)
        source_cosine = self.head.reference_cosine(source, agents)
        target_cosine = self.head.reference_cosine(target, agents)
        loss_rj = self.loss_rj(source_cosine, person_id, target_cosine)
        return dict(
            loss_al=loss_al,
            loss_rj=loss_rj,
            source_accuracy=self._accuracy(logits, person_id),
            **self.target_losses(
                target, target_cosine, part, len(source) + len(target)
            ),
        )

    def target_losses(
        self,
        target: Tensor,
        target_cosine: Tensor,
        part: dict[str, Tensor],
        batch_size: int,
    ) -> dict:
        """L_CML and L_MDL of the global target batch, and its counters.

        Args:
            target (Tensor): Unit-norm features, (N, D).
            target_cosine (Tensor): With the reference agents, (N, N_p).
            part (dict[str, Tensor]): The target images of this rank.
            batch_size (int): Size B of the whole global batch.

        Returns:
            dict: Weighted losses and diagnostics.
        """
        camera_id = gather_batch(part['camera_id'])
        log_soft_multilabel = self.head.log_soft_multilabel(target_cosine)
        statistics = camera_statistics(log_soft_multilabel, camera_id)
        if self.references:
            # Before the loss, as in the published code.
            self.references.move(statistics, batch_size)
            mean, std = self.references.mean, self.references.std
        else:
            # As if one camera had taken them all.
            mean, std, *_ = camera_statistics(
                log_soft_multilabel, torch.zeros_like(camera_id)
            )
        losses = dict(loss_cml=self.loss_cml(statistics, mean, std))
        if self.miner and self.mining:
            sample_idx = gather_batch(part['sample_idx'])
            losses.update(
                self._mine(target, log_soft_multilabel.detach(), sample_idx)
            )
        return losses

    def _mine(
        self, target: Tensor, log_soft_multilabel: Tensor, sample_idx: Tensor
    ) -> dict:
        """L_MDL of the global target batch, and the mining's counters."""
        soft_multilabel = log_soft_multilabel.exp()
        if self.memory:
            soft_multilabel = self.memory.update(sample_idx, soft_multilabel)
        pairs = self.miner(target.detach(), soft_multilabel)
        self.mined_pairs = (
            sample_idx[pairs.first],
            sample_idx[pairs.second],
            pairs.positive,
        )
        num_positives = pairs.positive.sum().float()
        return dict(
            loss_mdl=self.loss_mdl(target, *pairs),
            mined_positives=num_positives,
            mined_negatives=len(pairs.positive) - num_positives,
            **self.miner.counters(),
        )

    @torch.no_grad()
    def log_soft_multilabel(self, features: Tensor) -> Tensor:
        """``log y`` (Eq. 1) of images, some at a time.

        Args:
            features (Tensor): As the model gives them, (N, D).

        Returns:
            Tensor: (N, N_p).

        Raises:
            InputError: If the scale of the cosines is yet to be measured.
        """
        if not self.head.scale.isfinite():
            raise InputError(
                "The scale of the cosines is measured as the stage 'main' "
                "begins (model.head.scale='auto'), and these weights are of "
                'before that: take a checkpoint of that stage, or set '
                'model.head.scale to a number such as 30.'
            )
        return torch.cat(
            [
                self.head.log_soft_multilabel(
                    self.head.reference_cosine(F.normalize(chunk))
                )
                for chunk in features.split(1024)
            ]
        )

    @torch.no_grad()
    def pair_agreement(
        self, features: Tensor, first: Tensor, second: Tensor
    ) -> Tensor:
        """Soft multilabel agreement (Eq. 2) of some pairs, for diagnostics.

        Args:
            features (Tensor): Of N images, (N, D).
            first (Tensor): First image of each pair, (P, ).
            second (Tensor): Second image, (P, ).

        Returns:
            Tensor: (P, ).
        """
        # Each image once, however many pairs it is in.
        images, place = torch.stack([first, second]).unique(
            return_inverse=True
        )
        labels = self.log_soft_multilabel(features[images]).exp_()
        return torch.cat(
            [
                torch.minimum(labels[i], labels[j]).sum(1)
                for i, j in (pairs.unbind() for pairs in place.split(1024, 1))
            ]
        )

    @staticmethod
    @torch.no_grad()
    def _accuracy(logits: Tensor, person_id: Tensor) -> Tensor:
        return (logits.argmax(1) == person_id).float().mean() * 100

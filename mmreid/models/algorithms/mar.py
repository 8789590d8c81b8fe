import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid.registry import MODELS

from ..utils import gather_batch
from .base import BaseReID


@MODELS.register_module()
class MAR(BaseReID):
    """Deep soft multilabel reference learning.

    Implementation of `Unsupervised Person Re-identification by Soft
    Multilabel Learning <https://arxiv.org/abs/1903.06325>`_:

    ``L_MAR = L_MDL + lambda_1 L_CML + lambda_2 (L_AL + beta L_RJ)``
    (Eq. 9, 10).

    In the stage ``pretrain`` of the training loop the loss is L_AL alone,
    without unit norm; in the stage ``main`` it is L_MAR on the unit sphere.
    Source and target images go through the backbone separately, source
    first: batch normalisation sees one domain at a time.

    Every loss is that of the *global* batch on every rank (see
    :func:`gather_batch`), so threshold, references and memory, which live
    in buffers, are equal on all ranks.

    Args:
        head (dict): Config of :class:`ReferenceAgentHead`.
        miner (dict, optional): Config of the pair miner. None trains without
            L_MDL. Defaults to ``dict(type='SoftMultilabelMiner')``.
        memory (dict, optional): Config of :class:`SoftMultilabelMemory`. None
            mines with the batch's own soft multilabels, the paper's text.
            Defaults to ``dict(type='SoftMultilabelMemory')``.
        lambda1 (float): Weight of L_CML. Defaults to 2e-4.
        lambda2 (float): Weight of L_RAL. Defaults to 50.
        beta (float): Weight of L_RJ in L_RAL. Defaults to 0.2.
        mdl_weight (float): Weight of L_MDL; the paper has none. Defaults
            to 1.
        margin (float): Margin m of L_RJ. Defaults to 1.
        mdl_start_epoch (int): First epoch of the main stage, counted from
            0, that mines: before it L_MDL is zero, memory and threshold
            untouched. Defaults to 1.
        **kwargs: See :class:`BaseReID`.
    """

    def __init__(
        self,
        head: dict,
        miner: dict | None = dict(type='SoftMultilabelMiner'),  # noqa: B006
        memory: dict | None = dict(  # noqa: B006
            type='SoftMultilabelMemory'
        ),
        lambda1: float = 2e-4,
        lambda2: float = 50.0,
        beta: float = 0.2,
        mdl_weight: float = 1.0,
        margin: float = 1.0,
        mdl_start_epoch: int = 1,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.head = MODELS.build(head)
        self.miner = miner and MODELS.build(miner)
        self.memory = memory and MODELS.build(memory)
        self.loss_mdl = MODELS.build(dict(type='MDLLoss'))
        self.loss_cml = MODELS.build(dict(type='CMLLoss'))
        self.loss_rj = MODELS.build(dict(type='RJLoss', margin=margin))
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.beta = beta
        self.mdl_weight = mdl_weight
        self.mdl_start_epoch = mdl_start_epoch
        # What the last step mined, for diagnostics outside the model.
        self.mined_pairs = None

    def loss(self, inputs: Tensor, data_samples: dict) -> dict:
        """Losses of one batch, source images first.

        Args:
            inputs (Tensor): (N_s + N_t, 3, H, W).
            data_samples (dict): Tensors (N_s + N_t, ) ``person_id`` (only
                the source's are read), ``camera_id``, ``sample_idx``; and
                ``num_source`` N_s, ``stage`` and ``stage_epoch`` of the
                loop.

        Returns:
            dict: Weighted losses, and diagnostics without 'loss' in their
            name.
        """
        num_source = data_samples['num_source']
        source = gather_batch(self.extract_feat(inputs[:num_source]))
        person_id = gather_batch(data_samples['person_id'][:num_source])
        if data_samples['stage'] == 'pretrain':
            logits = self.head.logits(source)
            return dict(
                loss_al=F.cross_entropy(logits, person_id),
                source_accuracy=self._accuracy(logits, person_id),
            )

        source = F.normalize(source)
        target = F.normalize(
            gather_batch(self.extract_feat(inputs[num_source:]))
        )
        camera_id = gather_batch(data_samples['camera_id'][num_source:])
        sample_idx = gather_batch(data_samples['sample_idx'][num_source:])

        logits = self.head.scaled_cosine(source)
        loss_al = F.cross_entropy(logits, person_id)
        source_cosine = self.head.reference_cosine(source)
        target_cosine = self.head.reference_cosine(target)
        loss_rj = self.loss_rj(source_cosine, person_id, target_cosine)
        log_soft_multilabel = self.head.log_soft_multilabel(target_cosine)
        loss_cml = self.loss_cml(
            log_soft_multilabel, camera_id, len(source) + len(target)
        )
        losses = dict(
            loss_al=self.lambda2 * loss_al,
            loss_rj=self.lambda2 * self.beta * loss_rj,
            loss_cml=self.lambda1 * loss_cml,
            source_accuracy=self._accuracy(logits, person_id),
        )
        if self.miner and data_samples['stage_epoch'] >= self.mdl_start_epoch:
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
        counters = dict(
            loss_mdl=self.mdl_weight * self.loss_mdl(target, *pairs),
            mined_positives=num_positives,
            mined_negatives=len(pairs.positive) - num_positives,
        )
        threshold = getattr(self.miner, 'threshold', None)
        if threshold is not None:
            # A copy: the buffer moves with the next step.
            counters['threshold'] = threshold.clone()
        return counters

    @staticmethod
    @torch.no_grad()
    def _accuracy(logits: Tensor, person_id: Tensor) -> Tensor:
        return (logits.argmax(1) == person_id).float().mean() * 100

import torch
from torch import Tensor

from mmreid.registry import MODELS
from mmreid.structures import BatchInfo, FeatureSet

from ..utils import gather_batch
from .cluster_base import ClusterReID


@MODELS.register_module()
class ClusterContrast(ClusterReID):
    r"""Cluster Contrast: a memory of one vector per cluster.

    Implementation of `Cluster Contrast for Unsupervised Person
    Re-Identification <https://arxiv.org/abs/2103.11568>`_. The loss of an
    image f of cluster k is

    .. math:: L = -\log \frac{\exp(f \cdot \phi_k / \tau)}
        {\sum_j \exp(f \cdot \phi_j / \tau)}

    over the clusters' vectors phi, which then move towards the batch's images
    (:class:`ClusterMemory`).

    The loss is that of the *global* batch on every rank (see
    :func:`gather_batch`), so the memory is equal on all of them.

    Args:
        memory (dict): Config of the memory. Defaults to
            ``dict(type='ClusterMemory')``.
        loss_contrast (dict): Config of the loss of the logits. Defaults to
            ``dict(type='CrossEntropyLoss')``.
        **kwargs: See :class:`ClusterReID` and :class:`BaseReID`.
    """

    def __init__(
        self,
        memory: dict = dict(type='ClusterMemory'),  # noqa: B006
        loss_contrast: dict = dict(type='CrossEntropyLoss'),  # noqa: B006
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.memory = MODELS.build(memory)
        self.loss_contrast = MODELS.build(loss_contrast)

    def start_memory(self, target: FeatureSet, labels: Tensor) -> None:
        """Set phi to the clusters' mean features."""
        self.memory.start(target.features, labels)

    def loss(self, batch: dict[str, Tensor], info: BatchInfo) -> dict:
        """Loss of one batch; then the memory follows its images.

        Args:
            batch (dict[str, Tensor]): See :meth:`BaseReID.loss`. No identity
                is read.
            info (BatchInfo): Of the batch.

        Returns:
            dict: ``loss_contrast``, and ``cluster_accuracy``, how many images
            are nearest to their own cluster, in percent.
        """
        part = info.part(batch, 'target')
        features = gather_batch(self.extract_feat(part['inputs']))
        labels = self.clusters(gather_batch(part['sample_idx']))
        logits = self.memory(features)
        with torch.no_grad():
            correct = (logits.argmax(1) == labels).float()
        losses = dict(
            loss_contrast=self.loss_contrast(logits, labels),
            cluster_accuracy=correct.mean() * 100,
        )
        self.memory.update(features.detach(), labels)
        return losses

import logging

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmreid.registry import MODELS
from mmreid.structures import BatchInfo, FeatureSet

from ..utils import gather_batch
from .cluster_base import ClusterReID


@MODELS.register_module()
class CameraProxies(ClusterReID):
    r"""Camera-aware proxies: a memory of one vector per cluster and camera.

    Implementation of `Camera-aware Proxies for Unsupervised Person
    Re-Identification <https://arxiv.org/abs/2012.10674>`_:
    ``L = L_intra + lambda L_inter`` (:class:`IntraCameraLoss`,
    :class:`InterCameraLoss`). Each cluster is split by its cameras into
    proxies; batches are P x K by these. An image is separated from the
    other persons of its own camera, where it looks different for who is on it
    alone, and drawn to all proxies of its cluster, from which the light of
    another camera keeps it away. L_inter begins with the epoch
    ``inter_epoch``, until when the clusters are not good enough to join
    cameras.

    With one camera, or where none is known, a cluster is one proxy.

    Every loss is that of the *global* batch on every rank (see
    :func:`gather_batch`).

    Args:
        memory (dict): Config of the memory. Defaults to
            ``dict(type='ProxyMemory')``.
        loss_intra (dict): Config of L_intra. Defaults to
            ``dict(type='IntraCameraLoss')``.
        loss_inter (dict): Config of L_inter. Defaults to
            ``dict(type='InterCameraLoss')``.
        inter_epoch (int): First epoch, counted from 0, with L_inter.
            Defaults to 5.
        **kwargs: See :class:`ClusterReID` and :class:`BaseReID`.
    """

    groups = 'proxies'

    def __init__(
        self,
        memory: dict = dict(type='ProxyMemory'),  # noqa: B006
        loss_intra: dict = dict(type='IntraCameraLoss'),  # noqa: B006
        loss_inter: dict = dict(type='InterCameraLoss'),  # noqa: B006
        inter_epoch: int = 5,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.memory = MODELS.build(memory)
        self.proxies = MODELS.build(dict(type='PseudoLabels'))
        self.loss_intra = MODELS.build(loss_intra)
        self.loss_inter = MODELS.build(loss_inter)
        self.inter_epoch = inter_epoch

    def check(self, stages, dataset) -> None:
        """See :meth:`ClusterReID.check`; room for a proxy of each image."""
        super().check(stages, dataset)
        for stage in stages:
            if self.inter_epoch >= stage.num_epochs:
                print_log(
                    f'loss_inter never begins: inter_epoch is '
                    f'{self.inter_epoch}, counted from 0, and the stage '
                    f'{stage.name!r} has {stage.num_epochs} epochs.',
                    logger='current',
                    level=logging.WARNING,
                )
        self.proxies.allocate(len(dataset.domains['target']))

    def count_groups(self, labels: Tensor, target: FeatureSet) -> int:
        """Proxies; those of one cluster have no other to be separated from."""
        clusters = super().count_groups(labels, target)
        if clusters < 2:
            return clusters
        both = torch.stack([labels, self._camera_id(labels, target)])
        return both[:, labels >= 0].unique(dim=1).shape[1]

    @staticmethod
    def _camera_id(labels: Tensor, target: FeatureSet) -> Tensor:
        """(N, ) int64, of one camera where none is known."""
        if target.camera_id is None:
            return torch.zeros_like(labels)
        return target.camera_id.to(labels)

    def start_memory(self, target: FeatureSet, labels: Tensor) -> None:
        """Split the clusters; set each proxy to its images' mean feature."""
        camera_id = self._camera_id(labels, target)
        proxies = self.memory.split(labels, camera_id)
        self.proxies.assign(proxies, int(self.clusters.epoch))
        self.memory.start(target.features, self.proxies.labels)

    def sampling_labels(self, domain: str) -> Tensor | None:
        """The proxies, see :meth:`BaseReID.sampling_labels`."""
        return self.proxies.labels if domain == 'target' else None

    def cluster_labels(self, domain: str) -> Tensor | None:
        """The clusters, see :meth:`BaseReID.cluster_labels`."""
        return self.clusters.labels if domain == 'target' else None

    def loss(self, batch: dict[str, Tensor], info: BatchInfo) -> dict:
        """Losses of one batch; then the memory follows its images.

        Args:
            batch (dict[str, Tensor]): See :meth:`BaseReID.loss`. No identity
                is read.
            info (BatchInfo): Of the batch.

        Returns:
            dict: ``loss_intra``, from ``inter_epoch`` on ``loss_inter``, and
            ``cluster_accuracy``, how many images are nearest to a proxy of
            their own cluster, in percent.
        """
        part = info.part(batch, 'target')
        features = gather_batch(self.extract_feat(part['inputs']))
        proxies = self.proxies(gather_batch(part['sample_idx']))
        memory = self.memory
        logits = memory(features)
        with torch.no_grad():
            found = memory.cluster[logits.argmax(1)]
            correct = (found == memory.cluster[proxies]).float()
        losses = dict(
            loss_intra=self.loss_intra(logits, proxies, memory.camera),
            cluster_accuracy=correct.mean() * 100,
        )
        if info.epoch >= self.inter_epoch:
            losses['loss_inter'] = self.loss_inter(
                logits, proxies, memory.camera, memory.cluster
            )
        memory.update(features.detach(), proxies)
        return losses

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from mmreid.registry import MODELS
from mmreid.structures import BatchInfo, FeatureSet, Stage

from ..clusterers.self_paced_dbscan import separate_outliers
from ..utils import gather_batch
from .base import Extract
from .cluster_base import ClusterReID


@MODELS.register_module()
class SpCL(ClusterReID):
    r"""Self-paced contrastive learning with a hybrid memory.

    Implementation of `Self-paced Contrastive Learning with Hybrid Memory for
    Domain Adaptive Object Re-ID <https://arxiv.org/abs/2006.02713>`_. Classes
    of a labelled source, clusters of the target and its images of no cluster
    are told apart at once: the loss of an image f is

    .. math:: L = -\log \frac{\exp(f \cdot z^+ / \tau)}
        {\sum_k \exp(f \cdot w_k / \tau) + \sum_k \exp(f \cdot c_k / \tau)
        + \sum_k \exp(f \cdot v_k / \tau)}

    (Eq. 1) with z+ its class w_k, its cluster c_k or, if it is in none, its
    own vector v_k (:class:`HybridMemory`). It is the sum of the mean over
    source images and that over target images.

    As an epoch begins, the vectors v are clustered, not features of the
    network; only clusters that hardly change with the radius stay
    (:class:`SelfPacedDBSCAN`). Outliers are drawn as well, each once.

    The domains have batch norms of their own, affine weights included. The
    model's are the target's, so they are those of a test; the source's stand
    in ``source_norms`` while it goes through the network.

    Every loss is that of the *global* batch on every rank (see
    :func:`gather_batch`).

    Args:
        memory (dict): Config of the memory. Defaults to
            ``dict(type='HybridMemory')``.
        loss_source (dict): Config of the loss of the source's logits.
            Defaults to ``dict(type='CrossEntropyLoss')``.
        loss_target (dict): Config of the loss of the target's logits.
            Defaults to ``dict(type='CrossEntropyLoss')``.
        **kwargs: See :class:`ClusterReID` and :class:`BaseReID`.
    """

    stages = dict(cluster=dict(source=['person_id'], target=['camera_id']))

    groups = 'clusters and outliers'

    def __init__(
        self,
        memory: dict = dict(type='HybridMemory'),  # noqa: B006
        loss_source: dict = dict(type='CrossEntropyLoss'),  # noqa: B006
        loss_target: dict = dict(type='CrossEntropyLoss'),  # noqa: B006
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.memory = MODELS.build(memory)
        self.loss_source = MODELS.build(loss_source)
        self.loss_target = MODELS.build(loss_target)
        self._norms = {
            name: module
            for name, module in self.named_modules()
            if isinstance(module, _BatchNorm)
        }
        self.source_norms = nn.ModuleList(
            copy.deepcopy(norm) for norm in self._norms.values()
        )

    def source_feat(self, inputs: Tensor) -> Tensor:
        """f of source images, by the source's batch norms."""
        norms = {
            f'{name}.{key}': value
            for name, norm in zip(self._norms, self.source_norms, strict=True)
            for key, value in [*norm.named_parameters(), *norm.named_buffers()]
        }
        return functional_call(self, norms, (inputs,))

    def check(self, stages: Sequence[Stage], dataset) -> None:
        """See :meth:`ClusterReID.check`; note the target's cameras."""
        super().check(stages, dataset)
        self._camera_id = torch.from_numpy(dataset.camera_ids('target'))

    @torch.no_grad()
    def prepare_stage(self, stage: str, extract: Extract) -> None:
        """Start the memory and the source's batch norms."""
        for own, norm in zip(
            self.source_norms, self._norms.values(), strict=True
        ):
            own.load_state_dict(norm.state_dict())
        source, target = extract('source'), extract('target')
        self.memory.start(source.features, source.person_id, target.features)

    def target_features(self, extract: Extract) -> FeatureSet:
        """The vectors v, which the batches have moved."""
        images = self.memory.rows[-len(self._camera_id) :]
        return FeatureSet(images, camera_id=self._camera_id.to(images.device))

    def count_groups(self, labels: Tensor, target: FeatureSet) -> int:
        """Clusters and outliers: a batch has images of both."""
        return int(separate_outliers(labels).max()) + 1

    def start_memory(self, target: FeatureSet, labels: Tensor) -> None:
        """Nothing: the memory goes on from epoch to epoch."""

    def sampling_labels(self, domain: str) -> Tensor | None:
        """The clusters, each outlier being one by itself."""
        labels = super().sampling_labels(domain)
        if labels is None or self.clusters.epoch < 0:  # none made yet
            return labels
        return separate_outliers(labels)

    def cluster_labels(self, domain: str) -> Tensor | None:
        """The clusters, see :meth:`BaseReID.cluster_labels`."""
        return super().sampling_labels(domain)

    def loss(self, batch: dict[str, Tensor], info: BatchInfo) -> dict:
        """Losses of one batch; then the memory follows its images.

        Args:
            batch (dict[str, Tensor]): See :meth:`BaseReID.loss`. Of target
                images no identity is read.
            info (BatchInfo): Of the batch.

        Returns:
            dict: ``loss_source``, ``loss_target``, and how many images are
            nearest to their own class or cluster, in percent:
            ``source_accuracy``, ``cluster_accuracy``.
        """
        part = info.part(batch, 'source')
        source = gather_batch(self.source_feat(part['inputs']))
        person_id = gather_batch(part['person_id'])
        part = info.part(batch, 'target')
        target = gather_batch(self.extract_feat(part['inputs']))
        index = gather_batch(part['sample_idx'])

        groups = separate_outliers(self.clusters.labels)
        num_classes = len(self.memory.rows) - len(groups)
        labels = torch.cat([person_id, num_classes + groups[index]])
        features = torch.cat([source, target])
        logits = self.memory(features, groups)
        correct = (logits.detach().argmax(1) == labels).float() * 100
        split = [len(source)]
        (source_logits, target_logits), (classes, clusters), hits = (
            x.tensor_split(split) for x in (logits, labels, correct)
        )
        self.memory.update(
            features.detach(), torch.cat([person_id, num_classes + index])
        )
        return dict(
            loss_source=self.loss_source(source_logits, classes),
            loss_target=self.loss_target(target_logits, clusters),
            source_accuracy=hits[0].mean(),
            cluster_accuracy=hits[1].mean(),
        )

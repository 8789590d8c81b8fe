from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import (
    broadcast,
    broadcast_object_list,
    get_world_size,
    is_main_process,
)
from mmengine.logging import print_log
from torch import Tensor, nn

from mmreid.datasets.samplers import uses_labels
from mmreid.errors import InputError
from mmreid.evaluation import center_cameras
from mmreid.registry import MODELS
from mmreid.structures import FeatureSet, Stage

from .base import BaseReID, Extract


class ClusterReID(BaseReID):
    """Base of the methods that learn clusters of a target as persons.

    As an epoch begins, the features of all target images are clustered, and
    each image's cluster is its pseudo-label until the next time
    (:class:`PseudoLabelHook` says when). Batches are P x K by them
    (:class:`IdentitySampler`); outliers are not drawn. The features are of
    unit norm, after a BNNeck.

    A clustering that gives fewer clusters than a batch takes (P, and two at
    least, for one has no other to be told from) leaves the
    labels of the epoch before; in the first epoch there are none, and that is
    an error.

    Training starts from any backbone's weights: ImageNet's, those of a
    :class:`Baseline` or of a MAR, whose classifiers are left out, those of a
    method of this kind on another target, or those that people publish. No
    source is needed.

    Args:
        clusterer (dict): Config of what gives labels for a
            :class:`FeatureSet`: :class:`JaccardDBSCAN`,
            :class:`SelfPacedDBSCAN`, :class:`KMeans` or one of your own.
        camera_mean (bool): Subtract each camera's mean feature before
            clustering (:func:`center_cameras`). Defaults to False.
        bn_neck (dict, optional): Config of :class:`BNNeck`; ``in_channels``
            is the model's. None leaves it out. Defaults to
            ``dict(type='BNNeck')``.
        **kwargs: See :class:`BaseReID`.
    """

    stages = dict(cluster=dict(target=['camera_id']))
    # Of every method of this kind, so that one starts from another.
    stage_state = (
        *('clusters', 'clusterer', 'memory', 'proxies', 'source_norms'),
    )
    # What a batch has K images of each of.
    groups = 'clusters'
    # A BNNeck of another training fits; the rest is Baseline's and MAR's.
    fresh_heads = ('bn_neck', 'classifier', 'head', 'miner', 'references')
    # GeM's exponent, which a method that takes the mean has not.
    fresh_parts = ('neck',)

    def __init__(
        self,
        clusterer: dict,
        camera_mean: bool = False,
        bn_neck: dict | None = dict(type='BNNeck'),  # noqa: B006
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.clusterer = MODELS.build(clusterer)
        self.camera_mean = camera_mean
        self.bn_neck = bn_neck and MODELS.build(
            self.with_sizes(
                'model.bn_neck', bn_neck, in_channels=self.feature_length
            )
        )
        self.clusters = MODELS.build(dict(type='PseudoLabels'))

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """f, of unit norm, (N, 3, H, W) -> (N, D)."""
        features = self.run_backbone(self.backbone, inputs)
        if self.bn_neck:
            features = self.bn_neck(features)
        return F.normalize(features)

    def start_from(self, state_dict: dict) -> None:
        """Leave the clusters of another training out.

        It may be of another target, and this one makes its own as it begins.
        """
        for key in list(state_dict):
            if key.startswith(tuple(f'{p}.' for p in self.stage_state)):
                del state_dict[key]

    def check(self, stages: Sequence[Stage], dataset) -> None:
        """See :meth:`BaseReID.check`; room for a label of each image.

        Raises:
            InputError: If the target is not drawn by its labels, or if a
                process has one image of a domain in a batch.
        """
        super().check(stages, dataset)
        # Groups that a stage's batch needs, of which two can be told apart.
        self._least = {}
        for stage in stages:
            sampler = stage.sampler.get('target', dict(type='ShuffleSampler'))
            if not uses_labels(sampler):
                raise InputError(
                    f'Stage {stage.name!r} of {type(self).__name__} must draw '
                    'the target by its clusters, for outliers have none: set '
                    "sampler=dict(target=dict(type='IdentitySampler', "
                    'num_instances=4)).'
                )
            for domain, num in stage.batch_size.items():
                if num // get_world_size() < 2:
                    raise InputError(
                        f'A process has one image of the {domain} domain in a '
                        f'batch of the stage {stage.name!r}, and a batch norm '
                        f'takes two at least: raise batch_size.{domain}.'
                    )
            persons = stage.batch_size['target'] // sampler.get(
                'num_instances', 4
            )
            self._least[stage.name] = max(2, persons)
        self.clusters.allocate(len(dataset.domains['target']))

    @torch.no_grad()
    def prepare_epoch(self, stage: str, epoch: int, extract: Extract) -> None:
        """Cluster the target, and start the memory from the clusters.

        Raises:
            InputError: If there are too few clusters in the first epoch.
        """
        target = self.target_features(extract)
        labels = self._cluster(target)
        num, least = self.count_groups(labels, target), self._least[stage]
        if num < least:
            clusters = int(labels.max()) + 1
            found = (
                f'The clustering of {len(labels)} target images found '
                f'{clusters} clusters'
                + f' ({num} {self.groups})' * (num != clusters)
                + f', but a batch takes images of {least} {self.groups}'
            )
            if self.clusters.epoch < 0:
                # No batch is of fewer than two.
                smaller = (
                    f'lower batch_size.target of the stage {stage!r}, '
                    * (num >= 2)
                )
                raise InputError(
                    f'{found}: change model.clusterer (a larger eps or a '
                    'smaller min_samples leaves fewer outliers, a smaller eps '
                    f'gives more clusters), {smaller}or start from weights '
                    'that know persons.'
                )
            print_log(
                f'{found}: the labels of the epoch before stay.',
                logger='current',
            )
            labels = self.clusters.labels
        self.clusters.assign(labels, epoch)
        self.start_memory(target, self.clusters.labels)

    def _cluster(self, target: FeatureSet) -> Tensor:
        """Labels of the first process, or its error, on every one."""
        labels = torch.full((len(target),), -1, device=target.features.device)
        failed = None
        if is_main_process():
            try:
                if self.camera_mean:
                    target = center_cameras(target)
                labels.copy_(self.clusterer(target))
            except Exception as error:
                failed = error
        # Whatever it is: the others would wait for labels.
        message = [None if failed is None else str(failed)]
        broadcast_object_list(message)
        if failed is not None:
            raise failed
        if message[0] is not None:
            raise InputError(message[0])
        broadcast(labels)
        if isinstance(self.clusterer, nn.Module):
            for buffer in self.clusterer.buffers():
                broadcast(buffer)
        return labels

    def target_features(self, extract: Extract) -> FeatureSet:
        """What is clustered, of all N target images."""
        return extract('target')

    def count_groups(self, labels: Tensor, target: FeatureSet) -> int:
        """Groups of images that a batch can draw from, of an epoch's labels.

        Args:
            labels (Tensor): (N, ) int64, numbered from 0, -1 for outliers.
            target (FeatureSet): The N target images.
        """
        return int(labels.max()) + 1

    @abstractmethod
    def start_memory(self, target: FeatureSet, labels: Tensor) -> None:
        """Start the method's memory from the clusters of an epoch.

        Args:
            target (FeatureSet): All N target images, of unit norm.
            labels (Tensor): (N, ) int64, numbered from 0, -1 for outliers.
        """

    def sampling_labels(self, domain: str) -> Tensor | None:
        """See :meth:`BaseReID.sampling_labels`."""
        return self.clusters.labels if domain == 'target' else None

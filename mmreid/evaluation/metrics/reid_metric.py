from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from torch import Tensor

from mmreid.errors import InputError
from mmreid.registry import METRICS
from mmreid.structures import FeatureSet
from mmreid.structures.batch_info import UNKNOWN_PERSON

from ..evaluate import Evaluation, format_table
from ..features import save_features
from ..functional import feature_statistics
from .per_image_metric import PerImageMetric


@METRICS.register_module()
class ReIDMetric(PerImageMetric):
    """CMC, mAP and mINP over the query and gallery images of a data set.

    Every image comes once, in any order and on any rank, with the flag that
    tells query from gallery. Ranks exchange their features as one stacked
    tensor, and each scores its share of the queries; the result does not
    depend on the number of ranks. See :func:`mmreid.evaluation.rank` for the
    rules.

    Args:
        device (str, optional): Where distances are computed. Defaults to
            None: on the GPU if there is one.
        save_features (str, optional): A ``.npz`` file to write what is
            scored to, which ``python -m mmreid.evaluation`` scores again.
            Defaults to None.
        feature_statistics (bool): Whether the metrics have ``dead`` and
            ``effective-rank``, too, of all images: see
            :func:`mmreid.evaluation.feature_statistics`. Defaults to False.
        prefix (str, optional): Prefix of the metric names, for instance the
            data set's name. Defaults to None: ``rank-1``, ``mAP``, ...
        **kwargs: Options of :class:`mmreid.evaluation.Evaluation`:
            ``metric``, ``ap``, ``topk``, ``protocol``, ``ties``, ``expand``,
            ``rerank``, ``camera_mean``. For ``camera_mean='train'``,
            :class:`CameraMeanHook` sets ``training`` before each test.

    Attributes:
        training (FeatureSet, optional): The training images whose camera
            means the next evaluation subtracts, the same on every rank.
        feature_length (int, optional): Length D of the features that were
            scored last.
    """

    # Checked by mmreid.utils.check_config.
    kwargs_of = Evaluation

    fields = ('features', 'person_id', 'camera_id', 'is_query')

    def __init__(
        self,
        device: str | None = None,
        save_features: str | None = None,
        feature_statistics: bool = False,
        prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix=prefix)
        self.evaluation = Evaluation(**kwargs)
        self.device = device
        self.save_features = save_features
        self.feature_statistics = feature_statistics
        self.training: FeatureSet | None = None
        self.feature_length: int | None = None

    @property
    def camera_mean(self) -> str | None:
        """str, optional: See :class:`mmreid.evaluation.Evaluation`."""
        return self.evaluation.camera_mean

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            # Of one domain of several, each is nobody.
            persons = sample.get('person_id', UNKNOWN_PERSON)
            if (torch.as_tensor(persons) == UNKNOWN_PERSON).any():
                raise InputError(
                    'ReIDMetric got images of unknown persons, so no match is '
                    'right or wrong: score a data set with labelled=True '
                    "(and let the model's predict keep person_id). Unlabelled "
                    'images have features (tools/extract.py), and can be '
                    'looked at (ReIDInferencer.draw).'
                )
        super().process(data_batch, data_samples)

    def rows(self, sample: Mapping) -> tuple[Tensor, Tensor]:
        """Keep ``features`` (N, D) and the labels (N, 5)."""
        # A copy: a view would keep the batch it was cut from alive.
        features = sample['features'].to('cpu', torch.float32, copy=True)
        names = ('sample_idx', 'skipped_idx', *self.fields[1:])
        return features, self.columns(sample, names, len(features))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Score the images, sharing the queries between the ranks.

        Args:
            results (list): One pair of features (N, D) and labels (N, 5),
                the same on every rank.

        Returns:
            dict[str, float]: The metrics without prefix.

        Raises:
            InputError: If there is no query or no gallery image.
        """
        ((features, labels),) = results
        self.feature_length = features.shape[1]
        is_query = labels[:, 4].bool()
        num_query, num_gallery = int(is_query.sum()), int((~is_query).sum())
        if not num_query or not num_gallery:
            raise InputError(
                f'ReIDMetric got {num_query} query and {num_gallery} gallery '
                'images: the evaluated data set must hold both.'
            )
        images = FeatureSet(features, labels[:, 2], labels[:, 3])
        query, gallery = images.take(is_query), images.take(~is_query)
        # The next evaluation may be that of other weights.
        training, self.training = self.training, None
        if self.camera_mean == 'train' and training is None:
            raise InputError(
                "ReIDMetric with camera_mean='train' got no training images: "
                "add camera_mean=dict(type='CameraMeanHook') to the config's "
                'default_hooks.'
            )
        if self.save_features and is_main_process():
            save_features(self.save_features, query, gallery, training)

        device = self.device
        if device is None:
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        metrics = self.evaluation(
            query.to(device),
            gallery.to(device),
            None if training is None else training.to(device),
        )
        print_log(
            f'{num_query} query images '
            f'({metrics["skipped_queries"]:g} queries without a match left '
            f'out), {num_gallery} gallery images, '
            f'{self.evaluation.title(gallery, training)}\n'
            + format_table(metrics),
            logger='current',
        )
        if self.feature_statistics:
            statistics = feature_statistics(features)
            metrics['dead'] = statistics['dead']
            metrics['effective-rank'] = statistics['effective_rank']
        return metrics

from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import all_reduce, get_dist_info
from mmengine.logging import print_log
from torch import Tensor

from mmreid.registry import METRICS

from ..functional import check_metric, check_options, rank_queries
from .per_image_metric import PerImageMetric


@METRICS.register_module()
class ReIDMetric(PerImageMetric):
    """CMC, mAP and mINP over the query and gallery images of a data set.

    Every image comes once, in any order and on any rank, with the flag that
    tells query from gallery. Ranks exchange their features as one stacked
    tensor, and each scores its share of the queries; the result does not
    depend on the number of ranks. See
    :func:`mmreid.evaluation.rank_queries` for the rules.

    Args:
        metric (str): ``'cosine'`` or ``'euclidean'``. Defaults to 'cosine'.
        ap (str): The AP formula: ``'standard'``, ``'trapezoid'`` (the
            Market-1501 script) or ``'mar'`` (the published MAR code).
            Defaults to 'standard'.
        topk (Sequence[int]): The k of ``rank-k``. Defaults to
            (1, 5, 10, 20).
        device (str, optional): Where distances are computed. Defaults to
            None: on the GPU if there is one.
        prefix (str, optional): Prefix of the metric names, for instance the
            data set's name. Defaults to None: ``rank-1``, ``mAP``, ...
    """

    fields = ('features', 'person_id', 'camera_id', 'is_query')

    def __init__(
        self,
        metric: str = 'cosine',
        ap: str = 'standard',
        topk: Sequence[int] = (1, 5, 10, 20),
        device: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        check_metric(metric)
        check_options(ap, topk)
        self.metric = metric
        self.ap = ap
        self.topk = tuple(topk)
        self.device = device

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
            ValueError: If there is no query or no gallery image.
        """
        ((features, labels),) = results
        is_query = labels[:, 4].bool()
        num_query, num_gallery = int(is_query.sum()), int((~is_query).sum())
        if not num_query or not num_gallery:
            raise ValueError(
                f'ReIDMetric got {num_query} query and {num_gallery} gallery '
                'images: the evaluated data set must hold both.'
            )

        device = self.device
        if device is None:
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        parts = []
        for column in (features, labels[:, 2], labels[:, 3]):
            parts += [column[is_query], column[~is_query]]
        ranks = rank_queries(
            *(part.to(device) for part in parts),
            metric=self.metric,
            ap=self.ap,
            shard=get_dist_info(),
        )
        # Each query is non-zero on one rank only: adding is exact, and the
        # means are then taken in the same order as in a single process.
        for column in (ranks.ap, ranks.inp, ranks.first_rank):
            all_reduce(column)
        ranks.valid = ranks.first_rank > 0
        metrics = ranks.summary(self.topk)

        names = [name for name in metrics if name != 'skipped_queries']
        print_log(
            f'{num_query} queries ({int(metrics["skipped_queries"])} without '
            f'a match left out), {num_gallery} gallery images, {self.metric} '
            f'distance, AP "{self.ap}"\n'
            + ''.join(f'{name:>9}' for name in names)
            + '\n'
            + ''.join(f'{metrics[name]:9.2f}' for name in names),
            logger='current',
        )
        return metrics

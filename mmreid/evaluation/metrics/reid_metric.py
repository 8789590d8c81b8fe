import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import all_gather, all_reduce, get_dist_info
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmreid.registry import METRICS

from ..functional import QueryRanks, check_options, rank_queries

_FIELDS = ('sample_idx', 'skipped_idx', 'person_id', 'camera_id', 'is_query')


@METRICS.register_module()
class ReIDMetric(BaseMetric):
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

    # Not None, for which the base class would log a warning.
    default_prefix = ''

    def __init__(
        self,
        metric: str = 'cosine',
        ap: str = 'standard',
        topk: Sequence[int] = (1, 5, 10, 20),
        device: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        check_options(metric, ap, topk)
        self.metric = metric
        self.ap = ap
        self.topk = tuple(topk)
        self.device = device

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep one batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Usually one dict for the whole
                batch, with ``features`` (N, D) and, each of shape (N,),
                ``sample_idx`` (the index in the data set), ``skipped_idx``
                (-1, or the index of an unreadable image in whose place this
                one was delivered), ``person_id``, ``camera_id`` and
                ``is_query``.

        Raises:
            ValueError: If a field is missing or of another length.
        """
        for sample in data_samples:
            missing = {'features', *_FIELDS} - sample.keys()
            if missing:
                raise ValueError(
                    f'ReIDMetric needs {sorted(missing)} in what the model '
                    f'returns in mode="predict", got {sorted(sample)}.'
                )
            # A copy: a view would keep the batch it was cut from alive.
            features = sample['features'].to('cpu', torch.float32, copy=True)
            labels = [
                torch.as_tensor(sample[name]).to('cpu', torch.int64)
                for name in _FIELDS
            ]
            for name, label in zip(_FIELDS, labels, strict=True):
                if label.shape != features.shape[:1]:
                    raise ValueError(
                        f'ReIDMetric needs one {name} per feature row, '
                        f'({len(features)},), got {tuple(label.shape)}.'
                    )
            self.results.append((features, torch.stack(labels, dim=1)))

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather all ranks' features and score them.

        Args:
            size (int): Number of images in the data set.

        Returns:
            dict[str, float]: ``rank-k``, ``mAP``, ``mINP`` in percent and
            ``skipped_queries``, on every rank.

        Raises:
            ValueError: If some image of the data set has no feature.
        """
        results = self.results or [
            (torch.empty(0, 0), torch.empty(0, len(_FIELDS)).long())
        ]
        features, labels = (
            _all_gather_rows(torch.cat(parts))
            for parts in zip(*results, strict=True)
        )
        self.results.clear()

        # A stand-in answers for the image that could not be read.
        sample_idx, skipped_idx = labels[:, 0], labels[:, 1]
        index = torch.where(skipped_idx >= 0, skipped_idx, sample_idx)
        # Samplers repeat images to give every rank equally many.
        index, order = index.sort(stable=True)
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        order = order[first]
        if not torch.equal(index[first], torch.arange(size)):
            absent = torch.arange(size)
            absent = absent[~torch.isin(absent, index)].tolist()
            raise ValueError(
                f'ReIDMetric needs one feature for each sample_idx 0..'
                f'{size - 1}, got {len(order)} distinct ones, {len(absent)} '
                f'absent ({absent[:5]}): check the evaluation sampler.'
            )
        metrics = self.compute_metrics([(features[order], labels[order])])
        if self.prefix:
            metrics = {f'{self.prefix}/{k}': v for k, v in metrics.items()}
        return metrics

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
        skipped = labels[:, 1] >= 0
        if skipped.any():
            print_log(
                f'{int(skipped.sum())} of {len(skipped)} images could not be '
                'read and are left out of the evaluation: the numbers are '
                'not comparable.',
                logger='current',
                level=logging.WARNING,
            )
            features, labels = features[~skipped], labels[~skipped]
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
        stacked = torch.stack([column.double() for column in ranks])
        all_reduce(stacked)
        ap, inp, first_rank, valid = stacked
        ranks = QueryRanks(ap, inp, first_rank.long(), valid.bool())
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


def _all_gather_rows(rows: Tensor) -> Tensor:
    """Rows (N, C) of all ranks, in the order of the ranks. N may differ."""
    shapes = torch.stack(all_gather(torch.tensor(rows.shape)))
    longest, width = shapes.amax(0).tolist()
    padded = rows.new_zeros(longest, width)
    padded[: len(rows), : rows.shape[1]] = rows
    parts = zip(all_gather(padded), shapes[:, 0].tolist(), strict=True)
    return torch.cat([part[:count] for part, count in parts])

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_gather
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmreid.errors import InputError


class PerImageMetric(BaseMetric):
    """Base of metrics that need each image of a data set exactly once.

    Batches come in any order and on any rank. What a subclass keeps of them,
    in :meth:`rows`, is exchanged between the ranks as two stacked tensors,
    images that the sampler repeated count once, and those that could not be
    read are left out; then ``compute_metrics`` gets one pair of tensors, the
    same on every rank.

    Args:
        prefix (str, optional): Prefix of the metric names, for instance the
            data set's name. Defaults to None.
    """

    # Not None, for which the base class would log a warning.
    default_prefix = ''

    fields: Sequence[str] = ()
    """What a batch must hold, beside ``sample_idx`` and ``skipped_idx``."""

    def __init__(self, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)

    @property
    def _title(self) -> str:
        return type(self).__name__

    def rows(self, sample: Mapping) -> tuple[Tensor, Tensor]:
        """What to keep of a batch of N images.

        Args:
            sample (Mapping): The batch, with all ``fields``.

        Returns:
            tuple[Tensor, Tensor]: Copies on the CPU: float32 (N, D), and
            int64 (N, C), the first two columns of which are ``sample_idx``
            and ``skipped_idx``.
        """
        raise NotImplementedError(f'{self._title} must implement rows.')

    def columns(
        self, sample: Mapping, names: Sequence[str], num_images: int
    ) -> Tensor:
        """Stack per-image integers to (num_images, len(names)), int64.

        Raises:
            InputError: If one of them is of another shape.
        """
        columns = []
        for name in names:
            column = torch.as_tensor(sample[name]).to('cpu', torch.int64)
            if column.shape != (num_images,):
                raise InputError(
                    f'{self._title} needs one {name} per image, '
                    f'({num_images},), got {tuple(column.shape)}.'
                )
            columns.append(column)
        return torch.stack(columns, dim=1)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep one batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Usually one dict for the whole
                batch, with the fields that the class names and, each of
                shape (N,), ``sample_idx`` (the index in the data set) and
                ``skipped_idx`` (-1, or the index of an unreadable image in
                whose place this one was delivered).

        Raises:
            InputError: If a field is missing or of another shape.
        """
        for sample in data_samples:
            needed = {'sample_idx', 'skipped_idx', *self.fields}
            missing = needed - sample.keys()
            if missing:
                raise InputError(
                    f'{self._title} needs {sorted(missing)} in what the '
                    'model returns in mode="predict", got '
                    f'{sorted(sample)}.'
                )
            self.results.append(self.rows(sample))

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather what all ranks kept and score it.

        Args:
            size (int): Number of images in the data set.

        Returns:
            dict[str, float]: The metrics, on every rank.

        Raises:
            InputError: If some image of the data set did not come.
        """
        results = self.results or [
            (torch.empty(0, 0), torch.empty(0, 2).long())
        ]
        values, labels = (
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
            wanted = torch.arange(size)
            absent = wanted[~torch.isin(wanted, index)].tolist()
            raise InputError(
                f'{self._title} needs one result for each sample_idx 0..'
                f'{size - 1}, got {len(order)} distinct ones, {len(absent)} '
                f'absent ({absent[:5]}): check the evaluation sampler.'
            )
        readable = labels[order, 1] < 0
        if not readable.all():
            print_log(
                f'{int((~readable).sum())} of {size} images could not be '
                'read and are left out of the evaluation: the numbers are '
                'not comparable.',
                logger='current',
                level=logging.WARNING,
            )
            order = order[readable]
        metrics = self.compute_metrics([(values[order], labels[order])])
        if self.prefix:
            metrics = {f'{self.prefix}/{k}': v for k, v in metrics.items()}
        return metrics


def _all_gather_rows(rows: Tensor) -> Tensor:
    """Rows (N, C) of all ranks, in the order of the ranks. N may differ."""
    shapes = torch.stack(all_gather(torch.tensor(rows.shape)))
    longest, width = shapes.amax(0).tolist()
    padded = rows.new_zeros(longest, width)
    padded[: len(rows), : rows.shape[1]] = rows
    parts = zip(all_gather(padded), shapes[:, 0].tolist(), strict=True)
    return torch.cat([part[:count] for part, count in parts])

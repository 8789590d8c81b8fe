from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmreid.errors import InputError
from mmreid.registry import METRICS

from .per_image_metric import PerImageMetric


@METRICS.register_module()
class AttributeMetric(PerImageMetric):
    """How well attributes are recognised, per image.

    An attribute is recognised as present where its score is above 0.5.
    Unknown values (-1) are left out, attribute by attribute. In percent:

    - ``mA``: mean accuracy, the mean over the attributes of
      (TPR + TNR) / 2, the balanced accuracy. Attributes of which the images
      show one class only are left out, and named in the log; nan if all are.
    - ``attribute_accuracy``: mean over the attributes of the share of images
      that are right.
    - ``majority_accuracy``: what ``attribute_accuracy`` would be if every
      attribute was guessed as most of these very images have it.

    The log holds a table of all attributes. The names come from
    ``attribute_names`` in the data set's meta information.

    Args:
        prefix (str, optional): Prefix of the metric names, for instance the
            data set's name. Defaults to None: ``mA``, ...
    """

    fields = ('attribute_scores', 'attributes')

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        # Before what follows from it: batches without attributes.
        self._names()
        super().process(data_batch, data_samples)

    def rows(self, sample: Mapping) -> tuple[Tensor, Tensor]:
        """Keep ``attribute_scores`` and ``attributes``, both (N, m).

        Raises:
            InputError: If their shapes differ, from each other or from the
                data set's number of names, or if a value is out of range.
        """
        # A copy: a view would keep the batch it was cut from alive.
        scores = sample['attribute_scores'].to('cpu', torch.float32, copy=True)
        attributes = torch.as_tensor(sample['attributes']).to(
            'cpu', torch.int64
        )
        num_names = len(self._names())
        if scores.ndim != 2 or scores.shape[1] != num_names:
            raise InputError(
                f'AttributeMetric needs {num_names} attribute_scores per '
                'image, one for each of the attribute_names of the data set, '
                f'got the shape {tuple(scores.shape)}: check num_attributes '
                'of the model, and attribute_file and age of the data set.'
            )
        if attributes.shape != scores.shape:
            raise InputError(
                'AttributeMetric needs attributes and attribute_scores of '
                f'the same shape, got {tuple(attributes.shape)} and '
                f'{tuple(scores.shape)}.'
            )
        if not ((scores >= 0) & (scores <= 1)).all():
            raise InputError(
                'AttributeMetric needs probabilities in 0..1 as '
                'attribute_scores, got values from '
                f'{scores.min():.3g} to {scores.max():.3g}.'
            )
        if not ((attributes >= -1) & (attributes <= 1)).all():
            raise InputError(
                'AttributeMetric needs attributes of 1, 0 or -1, got values '
                f'from {attributes.min()} to {attributes.max()}.'
            )
        index = self.columns(
            sample, ('sample_idx', 'skipped_idx'), len(scores)
        )
        return scores, torch.cat([index, attributes], dim=1)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Score the images.

        Args:
            results (list): One pair of scores (N, m) and labels (N, 2 + m).

        Returns:
            dict[str, float]: The metrics without prefix.

        Raises:
            InputError: If no attribute of any image is known.
        """
        ((scores, labels),) = results
        attributes = labels[:, 2:]
        known = attributes >= 0
        if not known.any():
            raise InputError(
                f'AttributeMetric got {len(labels)} images, of none of which '
                'any attribute is known: check what is evaluated.'
            )
        right = ((scores > 0.5) == (attributes == 1)) & known

        def percent(hits: Tensor, of: Tensor) -> Tensor:
            # nan where there are none to hit: such a mean leaves it out.
            return 100 * hits.sum(0).double() / of.sum(0)

        positives = percent(attributes == 1, known)
        accuracy = percent(right, known)
        majority = torch.maximum(positives, 100 - positives)
        tpr = percent(right & (attributes == 1), attributes == 1)
        tnr = percent(right & (attributes == 0), attributes == 0)
        balanced = (tpr + tnr) / 2
        metrics = dict(
            mA=float(balanced.nanmean()),
            attribute_accuracy=float(accuracy.nanmean()),
            majority_accuracy=float(majority.nanmean()),
        )
        table = torch.stack([positives, accuracy, majority, balanced], 1)
        self._log(table, len(labels), metrics)
        return metrics

    def _names(self) -> Sequence[str]:
        names = (self.dataset_meta or {}).get('attribute_names')
        if not names:
            raise InputError(
                'AttributeMetric needs a data set with attributes: set '
                'attribute_file of the evaluated data set.'
            )
        return names

    def _log(self, table: Tensor, num_images: int, metrics: dict) -> None:
        names = self._names()
        left_out = [
            name
            for name, row in zip(names, table, strict=True)
            if row[-1].isnan()
        ]
        width = max(map(len, names))
        columns = ('positive', 'accuracy', 'majority', 'balanced')
        lines = [
            f'{num_images} images, {len(names)} attributes, in percent; '
            f'left out of mA, as only one class is there: '
            f'{", ".join(left_out) or "none"}',
            ' ' * width + ''.join(f'{column:>10}' for column in columns),
        ]
        lines += [
            f'{name:<{width}}' + ''.join(f'{value:10.2f}' for value in row)
            for name, row in zip(names, table.tolist(), strict=True)
        ]
        lines += [f'{name} {value:.2f}' for name, value in metrics.items()]
        print_log('\n'.join(lines), logger='current')

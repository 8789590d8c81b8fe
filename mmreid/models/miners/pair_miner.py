from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS

from ..utils.agreement import (
    FINE_BELOW,
    kth_largest_agreement,
    pairwise_agreement,
)


class MinedPairs(NamedTuple):
    """The similar pairs of a batch.

    Attributes:
        first (Tensor): Position in the batch of each pair's first image,
            (k, ) int64.
        second (Tensor): Position of its second image, (k, ) int64.
        positive (Tensor): Whether the pair is taken as a positive; the
            others are hard negatives. (k, ) bool.
    """

    first: Tensor
    second: Tensor
    positive: Tensor


class PairMiner(nn.Module):
    """Finds the similar pairs of a batch of target features.

    Args:
        ratio (float): Mining ratio p: of the M = N (N - 1) / 2 pairs of a
            batch the ``k = int(p M)`` nearest ones are similar pairs.
            Defaults to 0.005.

    Raises:
        InputError: If the ratio is not in (0, 1].
    """

    def __init__(self, ratio: float = 0.005) -> None:
        super().__init__()
        if not 0 < ratio <= 1:
            raise InputError(
                f'The mining ratio of {type(self).__name__} must be in (0, '
                f'1], but is {ratio}: the paper has 0.005.'
            )
        self.ratio = ratio

    def num_similar(self, num_images: int) -> int:
        """k of a batch of ``num_images``."""
        return int(self.ratio * (num_images * (num_images - 1) // 2))

    def prepare(self, soft_multilabel: Tensor) -> None:
        """Make ready for a stage, given the whole target set's.

        Args:
            soft_multilabel (Tensor): (N, N_p).
        """

    def counters(self) -> dict[str, Tensor]:
        """What the log shows of the miner's state: scalars by name."""
        return {}

    def similar_pairs(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The k nearest pairs, nearest first.

        Args:
            features (Tensor): (N, D).

        Returns:
            tuple[Tensor]: First image, second image, and place in the order
            of ``torch.pdist``, each (k, ).
        """
        distance = F.pdist(features)
        place = distance.topk(
            self.num_similar(len(features)), largest=False
        ).indices
        pairs = torch.triu_indices(
            len(features), len(features), 1, device=features.device
        )
        return pairs[0, place], pairs[1, place], place


@MODELS.register_module()
class SoftMultilabelMiner(PairMiner):
    """Soft multilabel-guided hard negative mining (Eq. 3).

    A similar pair whose soft multilabels agree more than the threshold T
    (``'batch'``: at least T) is positive, any other a hard negative.

    Args:
        ratio (float): Mining ratio p. Defaults to 0.005.
        threshold (str): ``'ema'``, the published code: T starts as the
            ``int(p M)``-th largest agreement over all pairs of the target
            training set and then follows the batches', ``T = 0.9 T + 0.1
            t_batch``, each batch being mined with the T before it; or
            ``'batch'``, the paper's text: T is the batch's own t_batch.
            Defaults to 'ema'.
        momentum (float): Weight of the old T. Defaults to 0.9.
    """

    def __init__(
        self,
        ratio: float = 0.005,
        threshold: str = 'ema',
        momentum: float = 0.9,
    ) -> None:
        super().__init__(ratio)
        if threshold not in ('ema', 'batch'):
            raise InputError(
                f"threshold must be 'ema' or 'batch', but is {threshold!r}."
            )
        self.follows_batch = threshold == 'batch'
        self.momentum = momentum
        self.register_buffer('threshold', torch.tensor(float('nan')))
        self._quantiles = {}
        # Known here, for a look at T in a step would wait for the device.
        self._fine = self.follows_batch

    def prepare(self, soft_multilabel: Tensor) -> None:
        """Set T to the k-th largest agreement of the target set's pairs."""
        num = len(soft_multilabel)
        k = self.num_similar(num)
        self.threshold.copy_(kth_largest_agreement(soft_multilabel, k))
        self._choose_precision()
        print_log(
            f'Initial threshold T {self.threshold.item():.4f}: agreement {k} '
            f'in order of the {num * (num - 1) // 2} target pairs.',
            logger='current',
        )

    def _choose_precision(self) -> None:
        small = self.threshold.item() < FINE_BELOW
        self._fine = self.follows_batch or small

    def _load_from_state_dict(self, *args) -> None:
        super()._load_from_state_dict(*args)
        self._choose_precision()

    def counters(self) -> dict[str, Tensor]:
        """T, as ``threshold``, and ``agreement_10``, ``_50`` and ``_90``,
        quantiles of the agreement of the similar pairs of the last batch."""
        # A copy: the buffer moves with the next step.
        return dict(threshold=self.threshold.clone(), **self._quantiles)

    @torch.no_grad()
    def forward(self, features: Tensor, soft_multilabel: Tensor) -> MinedPairs:
        """Mine a batch, then move the threshold.

        Args:
            features (Tensor): Unit-norm target features, (N, D).
            soft_multilabel (Tensor): Their soft multilabels, (N, N_p).

        Returns:
            MinedPairs: k pairs; with k = 0 none, and T stays.
        """
        first, second, place = self.similar_pairs(features)
        agreement = pairwise_agreement(soft_multilabel, self._fine)
        if not len(place):
            return MinedPairs(first, second, place.bool())
        ordered = agreement[place].sort().values
        self._quantiles = {
            f'agreement_{percent}': ordered[(len(place) - 1) * percent // 100]
            for percent in (10, 50, 90)
        }
        batch_threshold = agreement.topk(len(place)).values[-1]
        if self.follows_batch:
            self.threshold.copy_(batch_threshold)
            # Eq. 3 counts the pair at T in; the published code, whose T is
            # not of this batch, asks for more than T.
            positive = agreement[place] >= batch_threshold
        else:
            positive = agreement[place] > self.threshold
            self.threshold.lerp_(
                batch_threshold.to(self.threshold), 1 - self.momentum
            )
        return MinedPairs(first, second, positive)


@MODELS.register_module()
class FeatureGuidedMiner(PairMiner):
    """The feature-guided baseline of Sec. 4.4.

    The nearer half of the similar pairs is positive, the other half hard
    negative; the soft multilabels have no say.
    """

    @torch.no_grad()
    def forward(self, features: Tensor, soft_multilabel: Tensor) -> MinedPairs:
        """Mine a batch, see :class:`SoftMultilabelMiner`."""
        first, second, place = self.similar_pairs(features)
        rank = torch.arange(len(place), device=place.device)
        return MinedPairs(first, second, rank < (len(place) + 1) // 2)

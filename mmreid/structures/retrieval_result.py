from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mmreid.errors import InputError

__all__ = ['RetrievalResult']


@dataclass
class RetrievalResult:
    """What ranking the gallery gave for each query.

    Attributes:
        ap (Tensor): Average precision, in 0..1. Shape (Q,), float64.
        inp (Tensor): Inverse negative penalty: the number of true matches
            over the 1-based rank of the last one. Shape (Q,), float64.
        first_rank (Tensor): 1-based rank of the first true match. Shape
            (Q,), int64.
        valid (Tensor): Whether the query has a true match at all; the other
            three are 0 where it has none. Shape (Q,), bool.
        neighbours (Tensor): Indices of the k nearest gallery images that are
            not ignored, nearest first, -1 where fewer are left. Shape
            (Q, k), int64; k may be 0.
        distances (Tensor): Their distances, inf where there is none. Shape
            (Q, k).
        correct (Tensor): Whether they show the query's person. Shape (Q, k),
            bool.
    """

    ap: Tensor
    inp: Tensor
    first_rank: Tensor
    valid: Tensor
    neighbours: Tensor
    distances: Tensor
    correct: Tensor

    def summary(self, topk: Sequence[int] = (1, 5, 10, 20)) -> dict:
        """Mean over the valid queries.

        Args:
            topk (Sequence[int]): The k of ``rank-k``. Defaults to
                (1, 5, 10, 20).

        Returns:
            dict[str, float]: ``rank-k``, ``mAP`` and ``mINP`` in percent,
            and ``skipped_queries``, the number of queries left out because
            they have no true match.

        Raises:
            InputError: If no query has a true match.
        """
        num_valid = int(self.valid.sum())
        if num_valid == 0:
            raise InputError(
                f'None of the {len(self.valid)} queries has a gallery image '
                'of its person from another camera: check the person and '
                'camera ids (a gallery without camera labels needs a camera '
                'id that no query has).'
            )
        first_rank = self.first_rank[self.valid]
        result = {
            f'rank-{k}': 100.0 * int((first_rank <= k).sum()) / num_valid
            for k in topk
        }
        result['mAP'] = 100.0 * self.ap[self.valid].mean().item()
        result['mINP'] = 100.0 * self.inp[self.valid].mean().item()
        result['skipped_queries'] = float(len(self.valid) - num_valid)
        return result

    def to_dict(self) -> dict[str, list]:
        """Per query, for JSON: None stands for no match or no neighbour."""
        valid = self.valid.tolist()
        found = (self.neighbours >= 0).tolist()

        def known(values: list, mask: list) -> list:
            return [
                v if m else None for v, m in zip(values, mask, strict=True)
            ]

        return dict(
            {
                name: known(getattr(self, name).tolist(), valid)
                for name in ('ap', 'inp', 'first_rank')
            },
            **{
                name: [
                    known(row, mask)
                    for row, mask in zip(
                        getattr(self, name).tolist(), found, strict=True
                    )
                ]
                for name in ('neighbours', 'distances', 'correct')
            },
        )

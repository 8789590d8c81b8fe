from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mmreid.errors import InputError
from mmreid.structures import FeatureSet
from mmreid.structures.feature_set import check_features

__all__ = [
    'METRICS',
    'Distance',
    'FeatureDistance',
    'check_metric',
    'normalise',
    'query_blocks',
    'unit_vectors',
]

ArrayLike = Tensor | np.ndarray | Sequence

# Rows at a time where an operation has a temporary of their size.
_CACHED_ROWS = 256
# A pair costs 5 bytes (score and mask), and 8 more where all have to be
# looked at again, so a block stays below 220 MB.
_MAX_PAIRS = 2**24
_MAX_BLOCK = 256

METRICS = ('cosine', 'euclidean')


def check_metric(metric: str) -> None:
    """Raise an InputError unless the metric exists."""
    if metric not in METRICS:
        raise InputError(f'metric must be one of {METRICS}, got {metric!r}.')


def normalise(features: Tensor, squares: Tensor | None = None) -> Tensor:
    """Rows of unit norm; a row of zeros stays one.

    Args:
        features (Tensor): Shape (N, D).
        squares (Tensor, optional): Their squared norms, where they are
            known. Shape (N,). Defaults to None.

    Returns:
        Tensor: Shape (N, D).
    """
    if squares is None:
        squares = features.square().sum(1)
    return features / squares.sqrt().clamp(min=1e-12)[:, None]


def as_features(name: str, value: ArrayLike) -> Tensor:
    """Features to compute distances of, as a tensor.

    Args:
        name (str): For the errors.
        value (Tensor): Shape (N, D), floating point.

    Returns:
        Tensor: Shape (N, D).

    Raises:
        TypeError: If they are not floating point.
        InputError: If they are not (N, D), or empty.
    """
    features = torch.as_tensor(value)
    check_features(name, features)
    if features.numel() == 0:
        raise InputError(
            f'{name} must be a (N, D) tensor with at least one row and one '
            f'column, got shape {tuple(features.shape)}.'
        )
    return features


def with_squares(name: str, features: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, D) in float32 or float64, and their |x|^2, (N,).

    Args:
        name (str): For the error.
        features (Tensor): Shape (N, D), floating point.

    Raises:
        InputError: If one is not finite.
    """
    if features.dtype != torch.float64:
        features = features.float()
    # The squared norm of a row tells NaN, inf and overflow at once. Parts
    # that stay in the cache take a tenth of an einsum's time.
    squares = torch.cat(
        [part.square().sum(1) for part in features.split(_CACHED_ROWS)]
    )
    bad = (~squares.isfinite()).nonzero()
    if len(bad):
        raise InputError(
            f'{name} row {bad[0].item()} holds NaN, inf or values whose '
            f'square overflows ({len(bad)} of {len(features)} rows do): '
            'check the model and its precision.'
        )
    return features, squares


def unit_vectors(name: str, features: Tensor) -> Tensor:
    """Checked features as rows of unit norm.

    Args:
        name (str): For the error.
        features (Tensor): Shape (N, D), floating point.

    Returns:
        Tensor: Shape (N, D), float32 or float64.

    Raises:
        InputError: If one is not finite.
    """
    return normalise(*with_squares(name, features))


def check_pair(
    query: FeatureSet, gallery: FeatureSet
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Checked features of both sets, in one precision, each with |x|^2.

    Args:
        query (FeatureSet): Q images.
        gallery (FeatureSet): G images.

    Returns:
        tuple[Tensor, ...]: Query features, (Q, D), their squared norms,
        (Q,), gallery features, (G, D), their squared norms, (G,).

    Raises:
        InputError: If shapes or devices disagree, a set is empty, or a
            feature is not finite.
    """
    (q, q_squares), (g, g_squares) = (
        with_squares(name, as_features(name, images.features))
        for name, images in (
            ('query_features', query),
            ('gallery_features', gallery),
        )
    )
    if q.shape[1] != g.shape[1]:
        raise InputError(
            'query_features and gallery_features must have equally many '
            f'columns, got {q.shape[1]} and {g.shape[1]}.'
        )
    if q.device != g.device:
        raise InputError(
            'query_features and gallery_features must be on one device, '
            f'got {q.device} and {g.device}.'
        )
    dtype = torch.promote_types(q.dtype, g.dtype)
    return q.to(dtype), q_squares.to(dtype), g.to(dtype), g_squares.to(dtype)


def query_blocks(
    shape: tuple[int, int], chunk_size: int | None, shard: tuple[int, int]
) -> Iterator[slice]:
    """Slices of queries. Whole blocks are dealt out to the ranks, since the
    last bit of a matrix product depends on the block it is in."""
    num_query, num_gallery = shape
    if chunk_size is not None and chunk_size < 1:
        raise InputError(f'chunk_size must be >= 1, got {chunk_size}.')
    size = chunk_size or min(_MAX_BLOCK, max(1, _MAX_PAIRS // num_gallery))
    process, world_size = shard
    for start in range(0, num_query, size)[process::world_size]:
        yield slice(start, min(start + size, num_query))


class EqualColumns:
    """Makes equal images equally distant, to the last bit.

    A matrix product need not sum equal columns in the same order: on many
    processors the last few go another way, and would tie no longer.

    Args:
        features (Tensor): What the columns of a block stand for. Shape
            (G, D), floating point.
    """

    def __init__(self, features: Tensor) -> None:
        # Rows that may be equal have the same sum of their bits, whatever
        # its order. Overflow wraps around.
        bits = features.contiguous().view(torch.int32)
        odd = torch.arange(bits.shape[1], dtype=torch.int32) * -1640531534 + 1
        odd = odd.to(bits.device)
        sums = torch.cat(
            [(part * odd).sum(1) for part in bits.split(_CACHED_ROWS)]
        )
        _, inverse, counts = sums.unique(
            return_inverse=True, return_counts=True
        )
        suspects = (counts[inverse] > 1).nonzero()[:, 0]
        self._copies = self._originals = suspects
        if len(suspects):
            _, which = features[suspects].unique(dim=0, return_inverse=True)
            original = torch.full_like(suspects, len(features)).scatter_reduce(
                0, which, suspects, 'amin'
            )[which]
            is_copy = original != suspects
            self._copies = suspects[is_copy]
            self._originals = original[is_copy]

    def __call__(self, scores: Tensor) -> Tensor:
        """Give copies the column of their original, in place.

        Args:
            scores (Tensor): Shape (q, G).

        Returns:
            Tensor: The same.
        """
        if len(self._copies):
            scores[:, self._copies] = scores[:, self._originals]
        return scores


class Distance(Protocol):
    """What ranks a gallery: any object that has these.

    Attributes:
        shape (tuple[int, int]): Q queries and G gallery images.
        device (torch.device): Where the distances are computed.
    """

    shape: tuple[int, int]
    device: torch.device

    def block(self, rows: slice) -> Tensor:
        """What grows with the distance, within a row.

        Args:
            rows (slice): Queries, without a step.

        Returns:
            Tensor: Shape (q, G), the caller's to overwrite.
        """

    def to_distances(self, scores: Tensor, rows: slice) -> Tensor:
        """Distances, from what :meth:`block` gave for the same rows.

        Args:
            scores (Tensor): Shape (q, any); overwritten.
            rows (slice): The queries.

        Returns:
            Tensor: Shape (q, any).
        """


class FeatureDistance:
    """Distances of queries to a gallery, a block of queries at a time.

    Args:
        query (FeatureSet): Q images.
        gallery (FeatureSet): G images.
        metric (str): ``'cosine'``, 1 minus the cosine, 1 for a zero vector;
            or ``'euclidean'``. Defaults to 'cosine'.

    Attributes:
        shape (tuple[int, int]): Q and G.
        device (torch.device): That of the features.
        query (Tensor): Query features, of unit norm with cosine. Shape
            (Q, D), float32 or float64.
        gallery (Tensor): The same of the gallery. Shape (G, D).

    Raises:
        InputError: If shapes or devices disagree, a set is empty, a feature
            is not finite, or the metric does not exist.
    """

    def __init__(
        self, query: FeatureSet, gallery: FeatureSet, metric: str = 'cosine'
    ) -> None:
        check_metric(metric)
        q, q_squares, g, g_squares = check_pair(query, gallery)
        self.metric = metric
        self.shape = len(q), len(g)
        self.device = q.device
        self._equal_columns = EqualColumns(g)
        if metric == 'cosine':
            q, g = normalise(q, q_squares), normalise(g, g_squares)
        else:
            # |q - g|^2 / 2 without |q|^2, which is the same for a whole row.
            self._offset = g_squares / 2
        self.query, self.gallery = q, g
        self._query_squares = q_squares

    def block(self, rows: slice) -> Tensor:
        """What grows with the distance, within a row.

        Args:
            rows (slice): Queries, without a step.

        Returns:
            Tensor: Shape (q, G), the caller's to overwrite.
        """
        query = self.query[rows]
        # Under autocast, bf16 would turn near neighbours into ties.
        with torch.autocast(query.device.type, enabled=False):
            if self.metric == 'cosine':
                # To add the 1 here would take a tenth longer.
                scores = torch.mm(-query, self.gallery.T)
            else:
                scores = torch.addmm(
                    self._offset, query, self.gallery.T, alpha=-1
                )
        return self._equal_columns(scores)

    def to_distances(self, scores: Tensor, rows: slice) -> Tensor:
        """Distances, from what :meth:`block` gave for the same rows.

        Args:
            scores (Tensor): Shape (q, any); overwritten.
            rows (slice): The queries.

        Returns:
            Tensor: Cosine or Euclidean distances. Shape (q, any).
        """
        if self.metric == 'cosine':
            return scores.add_(1)
        scores.mul_(2).add_(self._query_squares[rows, None])
        return scores.clamp_(min=0).sqrt_()

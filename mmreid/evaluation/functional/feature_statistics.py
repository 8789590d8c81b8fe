import torch
from torch import Tensor

DEAD_BELOW = 1e-6


def feature_statistics(features: Tensor) -> dict[str, int | float]:
    r"""How many of their dimensions features really use.

    With the eigenvalues :math:`l_i` of the features' covariance and
    :math:`p_i = l_i / \sum_j l_j`, both ranks are D where all directions vary
    alike, 1 where one alone varies, and 0 if all images are the same.

    Args:
        features (Tensor): Features (N, D) of N images, finite.

    Returns:
        dict[str, int | float]:

        - ``dead``: dimensions whose standard deviation over the images is
          below 1e-6 of the largest one: they are the same for every image.
        - ``effective_rank``: :math:`\exp(-\sum_i p_i \log p_i)`. Roy and
          Vetterli, "The effective rank: a measure of effective
          dimensionality", EUSIPCO 2007, take the singular values of a matrix
          in place of the eigenvalues.
        - ``participation_ratio``: :math:`(\sum_i l_i)^2 / \sum_i l_i^2`.
    """
    features = features.double()
    centred = features - features.mean(0)
    deviation = centred.square().mean(0).sqrt()
    largest = deviation.max()
    statistics: dict[str, int | float] = dict(
        dead=int((deviation <= DEAD_BELOW * largest).sum()),
        effective_rank=0.0,
        participation_ratio=0.0,
    )
    if largest > 0:
        # Rounding leaves tiny eigenvalues below zero.
        eigenvalues = torch.linalg.eigvalsh(centred.T @ centred).clamp(min=0)
        share = eigenvalues / eigenvalues.sum()
        statistics.update(
            effective_rank=float(torch.special.entr(share).sum().exp()),
            participation_ratio=float(1 / share.square().sum()),
        )
    return statistics

"""How well clusters fit the persons, where these are known."""

import torch
from torch import Tensor

from mmreid.errors import InputError

__all__ = ['cluster_quality']


def cluster_quality(labels: Tensor, person_id: Tensor) -> dict[str, float]:
    """Compare clusters with persons.

    Args:
        labels (Tensor): Cluster of each image, -1 for outliers, each of which
            is alone. (N, ) int64.
        person_id (Tensor): (N, ) int64.

    Returns:
        dict[str, float]: In percent: ``purity``, the images of clusters that
        show the commonest person of their cluster; ``pair_precision``, the
        pairs within a cluster that show one person; ``pair_recall``, the
        pairs of one person that are within a cluster; ``pair_f1``, the
        harmonic mean of these two. What would divide by 0 is 0.

    Raises:
        InputError: If there are not as many labels as persons.

    Examples:
        >>> import torch
        >>> from mmreid.evaluation import cluster_quality
        >>> labels = torch.tensor([0, 0, 1, 1, 1, -1])
        >>> found = cluster_quality(labels, torch.tensor([3, 3, 5, 5, 3, 5]))
        >>> {name: round(value, 1) for name, value in found.items()}
        {'purity': 80.0, 'pair_precision': 50.0, 'pair_recall': 33.3, \
'pair_f1': 40.0}
    """
    if labels.shape != person_id.shape or labels.dim() != 1:
        raise InputError(
            'labels and person_id must be one number per image, got shapes '
            f'{tuple(labels.shape)} and {tuple(person_id.shape)}.'
        )
    known = labels >= 0
    both = torch.stack([labels[known], person_id[known]], 1)
    both, shared = both.unique(dim=0, return_counts=True)
    num_clusters = int(labels.max()) + 1 if len(labels) else 0
    commonest = shared.new_zeros(num_clusters)
    commonest.scatter_reduce_(0, both[:, 0], shared, 'amax')
    sizes = labels[known].bincount(minlength=num_clusters)
    persons = person_id.unique(return_counts=True)[1]

    def pairs(counts: Tensor) -> int:
        return int((counts * (counts - 1) // 2).sum())

    def percent(part: float, whole: float) -> float:
        return 100 * part / whole if whole else 0.0

    correct = pairs(shared)
    found, wanted = pairs(sizes), pairs(persons)
    return dict(
        purity=percent(int(commonest.sum()), int(known.sum())),
        pair_precision=percent(correct, found),
        pair_recall=percent(correct, wanted),
        pair_f1=percent(2 * correct, found + wanted),
    )

from itertools import combinations

import pytest
import torch

from mmreid.evaluation import nearest_pairs
from mmreid.structures import FeatureSet


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(30, 4, generator=generator, dtype=torch.float64)


def by_hand(features, metric):
    """All pairs with their distances, nearest first."""

    def distance(i, j):
        a, b = features[i], features[j]
        if metric == 'cosine':
            return 1 - (a @ b / a.norm() / b.norm()).item()
        return (a - b).norm().item()

    pairs = combinations(range(len(features)), 2)
    return sorted((distance(i, j), i, j) for i, j in pairs)


@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
@pytest.mark.parametrize('chunk_size', [None, 1, 7])
def test_equals_sorting_all_pairs(features, metric, chunk_size):
    expected = by_hand(features, metric)
    for num in (1, 20, len(expected)):
        found = nearest_pairs(FeatureSet(features), num, metric, chunk_size)
        rows = list(zip(*(values.tolist() for values in found), strict=True))
        assert [row[:2] for row in rows] == [e[1:] for e in expected[:num]]
        assert [row[2] for row in rows] == pytest.approx(
            [e[0] for e in expected[:num]]
        )


def test_equal_pairs_are_in_the_order_of_the_images():
    images = FeatureSet(torch.ones(5, 3))
    first, second, distance = nearest_pairs(images, 10, chunk_size=2)
    assert torch.equal(
        torch.stack([first, second]), torch.triu_indices(5, 5, 1)
    )
    assert distance.tolist() == pytest.approx([0] * 10, abs=1e-6)
    # Of fewer each is kept once.
    pairs = torch.stack(nearest_pairs(images, 4, chunk_size=2)[:2], 1)
    assert len(pairs.unique(dim=0)) == 4


@pytest.mark.parametrize('num', [0, 436])
def test_no_such_number(features, num):
    with pytest.raises(ValueError, match=f'435 pairs of 30 .*got {num}'):
        nearest_pairs(FeatureSet(features), num)

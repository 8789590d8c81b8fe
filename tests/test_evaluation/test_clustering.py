from collections import Counter
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreid.evaluation import cluster_quality


def slow(labels, persons):
    """Pair by pair, cluster by cluster."""
    clustered = [
        (c, p) for c, p in zip(labels, persons, strict=True) if c > -1
    ]
    right = sum(
        max(Counter(p for c, p in clustered if c == k).values())
        for k in {c for c, _ in clustered}
    )
    together = alike = both = 0
    images = list(zip(labels, persons, strict=True))
    for (c1, p1), (c2, p2) in combinations(images, 2):
        in_one = c1 == c2 != -1
        together += in_one
        alike += p1 == p2
        both += in_one and p1 == p2
    precision = both / together if together else 0
    recall = both / alike if alike else 0
    total = precision + recall
    return dict(
        purity=100 * right / len(clustered) if clustered else 0,
        pair_precision=100 * precision,
        pair_recall=100 * recall,
        pair_f1=100 * 2 * precision * recall / total if total else 0,
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_equals_the_definition(data):
    num = data.draw(st.integers(0, 25))
    kinds = st.integers(-1, data.draw(st.integers(0, 6)))
    labels = data.draw(st.lists(kinds, min_size=num, max_size=num))
    persons = data.draw(
        st.lists(st.integers(0, 5), min_size=num, max_size=num)
    )
    found = cluster_quality(
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(persons, dtype=torch.int64),
    )
    assert found == pytest.approx(slow(labels, persons))


def test_of_other_lengths():
    with pytest.raises(ValueError, match=r'shapes \(3,\) and \(2,\)'):
        cluster_quality(torch.zeros(3).long(), torch.zeros(2).long())

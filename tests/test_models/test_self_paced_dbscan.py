import pytest
import torch
from test_clusterers import people

from mmreid.models import JaccardDBSCAN, SelfPacedDBSCAN
from mmreid.models.clusterers.self_paced_dbscan import (
    cluster_overlap,
    separate_outliers,
)

NEIGHBOURS = dict(min_samples=3, k1=10, k2=3)


def slow_overlap(labels, other):
    """Eq. 5 and 6, by sets."""

    def images(of, i):
        return {
            j
            for j in range(len(of))
            if i == j or (of[j] == of[i] and of[i] >= 0)
        }

    return [
        len(images(labels, i) & images(other, i))
        / len(images(labels, i) | images(other, i))
        for i in range(len(labels))
    ]


def slow_keep(labels, tight, loose, share, alpha=None):
    """The clusters that stay, and alpha."""
    independence = slow_overlap(labels, loose)
    compactness = slow_overlap(labels, tight)
    clusters = [
        [i for i in range(len(labels)) if labels[i] == k]
        for k in range(max(labels) + 1)
    ]
    best = [max(independence[i] for i in images) for images in clusters]
    if alpha is None:
        ranked = sorted(best, reverse=True)
        alpha = ranked[min(round(share * len(ranked)), len(ranked) - 1)]
    kept = []
    for images, score in zip(clusters, best, strict=True):
        top = max(compactness[i] for i in images)
        if score >= alpha:
            kept.append([i for i in images if compactness[i] >= top])
    return kept, alpha


@pytest.mark.parametrize('seed', range(3))
def test_overlap(seed):
    torch.manual_seed(seed)
    labels, other = torch.randint(-1, 5, (2, 40))
    found = cluster_overlap(labels, other)
    torch.testing.assert_close(
        found, torch.tensor(slow_overlap(labels.tolist(), other.tolist()))
    )
    assert (cluster_overlap(labels, labels) == 1).all()


def test_separate_outliers():
    labels = torch.tensor([1, -1, 0, -1, 1])
    assert separate_outliers(labels).tolist() == [1, 2, 0, 3, 1]
    assert separate_outliers(torch.tensor([-1, -1])).tolist() == [0, 1]


@pytest.mark.parametrize('share', [0.9, 0.5, 1.0])
def test_equals_the_definition(share):
    images, _ = people(noise=0.75)
    args = dict(eps=0.5, gap=0.1, **NEIGHBOURS)
    ours = SelfPacedDBSCAN(share=share, **args)
    assert ours.alpha.isnan()
    found = ours(images)
    dbscan = JaccardDBSCAN(0.5, **NEIGHBOURS)
    labels, tight, loose = (
        each.tolist() for each in dbscan.labels_at(images, 0.5, 0.4, 0.6)
    )
    kept, alpha = slow_keep(labels, tight, loose, share)
    # Something is at stake.
    assert 1 < len(kept) <= max(labels) + 1
    assert sum(map(len, kept)) < sum(label >= 0 for label in labels)
    assert ours.alpha.item() == pytest.approx(alpha)
    groups = [
        (found == k).nonzero()[:, 0].tolist()
        for k in range(int(found.max()) + 1)
    ]
    assert groups == kept
    # Later clusters are measured by the first ones' alpha.
    other, _ = people(noise=0.9)
    again = ours(other)
    labels, tight, loose = (
        each.tolist() for each in dbscan.labels_at(other, 0.5, 0.4, 0.6)
    )
    kept, _ = slow_keep(labels, tight, loose, share, alpha)
    assert ours.alpha.item() == pytest.approx(alpha)
    assert int(again.max()) + 1 == len(kept)


def test_labels_at_several_radii():
    images, _ = people(noise=0.75)
    several = JaccardDBSCAN(0.5, **NEIGHBOURS).labels_at(images, 0.6, 0.4)
    for eps, labels in zip([0.6, 0.4], several, strict=True):
        alone = JaccardDBSCAN(eps, **NEIGHBOURS)(images)
        assert labels.tolist() == alone.tolist()


def test_no_cluster():
    images, _ = people(noise=0.9)
    args = dict(eps=0.2, gap=0.1, min_samples=20, k1=10, k2=3)
    ours = SelfPacedDBSCAN(**args)
    assert (ours(images) == -1).all()
    # The first clusters that there are give alpha.
    assert ours.alpha.isnan()


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(eps=0.99, gap=0.02), 'gap of SelfPacedDBSCAN .* at eps=0.99'),
        (dict(gap=0), 'gap of SelfPacedDBSCAN must be above 0'),
        (dict(share=0), 'share of SelfPacedDBSCAN must be above 0'),
        (dict(share=1.1), 'at most 1, but is 1.1'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        SelfPacedDBSCAN(**options)

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreid.datasets.samplers import (
    DomainSampler,
    IdentitySampler,
    domain_sampler,
)

# Ten identities of 1 to 10 images, and outliers between them.
LABELS = np.array(sum([[i] * (i + 1) + [-1] for i in range(10)], []))
CAMERAS = np.arange(len(LABELS)) % 3


def sampler(p=4, k=3, labels=LABELS, key=(0, 0, 0), **kwargs):
    cameras = np.arange(len(labels)) % 3
    return IdentitySampler(
        len(labels), p * k, key, labels, cameras, num_instances=k, **kwargs
    )


@given(
    p=st.integers(1, 10),
    k=st.integers(1, 6),
    epoch=st.integers(0, 5),
    across_cameras=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_each_batch_is_p_identities_of_k_images(p, k, epoch, across_cameras):
    ours = sampler(p, k, across_cameras=across_cameras)
    assert ours.epoch_length == len(LABELS) // (p * k)
    for position in range(6):
        batch = ours.batch(epoch, position).reshape(p, k)
        identities = LABELS[batch]
        # The K images of an identity lie side by side, and none is an
        # outlier.
        assert (identities == identities[:, :1]).all()
        assert (identities >= 0).all()
        assert len(set(identities[:, 0])) == p
        for identity, images in zip(identities[:, 0], batch, strict=True):
            num = identity + 1
            counts = Counter(images.tolist())
            # Twice only where there are fewer than K, and then evenly.
            assert len(counts) == min(num, k)
            assert max(counts.values()) - min(counts.values()) <= 1


def test_all_identities_and_images_take_turns():
    labels = np.repeat(np.arange(7), 4)
    ours = sampler(2, 2, labels)
    drawn = np.concatenate([ours.batch(3, k) for k in range(7 * 4 // 4)])
    # 14 turns of 7 identities, 28 draws of 28 images.
    turns = labels[drawn].reshape(-1, 2)[:, 0]
    assert sorted(turns) == sorted([*range(7)] * 2)
    assert sorted(drawn) == list(range(28))


def test_without_repeating_an_image():
    """Outliers are each a label: a batch has more of them."""
    labels = np.array([0] * 6 + [1] * 5 + [2] * 3 + [*range(3, 23)])
    ours = sampler(4, 4, labels, repeat=False)
    again = sampler(4, 4, labels, repeat=False)
    turns = []
    for position in range(40):
        batch = ours.batch(0, position)
        assert batch.shape == (16,)
        assert (again.batch(0, position) == batch).all()
        assert len(set(batch.tolist())) == 16
        counts = Counter(labels[batch].tolist())
        last = labels[batch[-1]]
        for label, count in counts.items():
            num = min(4, (labels == label).sum())
            assert count == num or (label == last and count < num)
        turns += dict.fromkeys(labels[batch].tolist())
    # Each label is drawn as often as any other, up to one cut at a batch's
    # end.
    counts = Counter(turns)
    assert set(counts) == set(range(23))
    assert max(counts.values()) - min(counts.values()) <= 2


def test_across_cameras():
    # Six images of each identity: four of camera 0, one of 1, one of 2.
    labels = np.repeat(np.arange(5), 6)
    cameras = np.tile([0, 0, 0, 0, 1, 2], 5)
    args = (len(labels), 15, (0, 0, 0), labels, cameras)
    spread = IdentitySampler(*args, num_instances=3, across_cameras=True)
    for epoch in range(4):
        batch = cameras[spread.batch(epoch, 0)].reshape(5, 3)
        assert all(sorted(row) == [0, 1, 2] for row in batch)
    blind = IdentitySampler(*args, num_instances=3)
    rows = [
        sorted(row)
        for epoch in range(4)
        for row in cameras[blind.batch(epoch, 0)].reshape(5, 3)
    ]
    assert [0, 0, 0] in rows


@given(st.integers(0, 4), st.integers(0, 8))
@settings(max_examples=20, deadline=None)
def test_a_function_of_seed_epoch_and_position(epoch, position):
    walked = sampler()
    for k in range(position):
        walked.batch(epoch, k)
    expected = walked.batch(epoch, position)
    assert (sampler().batch(epoch, position) == expected).all()
    # Nor does it depend on what was asked for between.
    walked.batch(epoch + 1, 0)
    assert (walked.batch(epoch, position) == expected).all()
    for key in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert (sampler(key=key).batch(epoch, position) != expected).any()


def test_labels_decide():
    other = np.where(LABELS == 9, -1, LABELS)
    batches = [sampler(labels=other).batch(0, k) for k in range(20)]
    assert not (LABELS[np.concatenate(batches)] == 9).any()


@pytest.mark.parametrize(
    'p, k, message',
    [
        (11, 2, '2 images of 11 identities, but there are only 10'),
    ],
)
def test_too_few_identities(p, k, message):
    with pytest.raises(ValueError, match=message):
        sampler(p, k)


def test_k_must_divide_the_batch():
    args = (len(LABELS), 16, (0, 0, 0), LABELS, CAMERAS)
    with pytest.raises(ValueError, match='3 images .* not divide the 16'):
        IdentitySampler(*args, num_instances=3)


def test_within_a_batch_of_several_domains(monkeypatch):
    num = len(LABELS)
    domains = dict(source=range(50), target=range(50, 50 + num))
    config = dict(
        domains=domains,
        batch_size=dict(source=6, target=12),
        seed=0,
        samplers=dict(target=dict(type='IdentitySampler', num_instances=3)),
        labels=dict(target=(LABELS, CAMERAS)),
    )
    whole = DomainSampler(**config).batch(5)
    assert max(whole[:6]) < 50
    labels = LABELS[np.array(whole[6:]) - 50].reshape(4, 3)
    assert len(set(labels[:, 0])) == 4 and (labels == labels[:, :1]).all()
    # The source is drawn as it is without the target's sampler.
    plain = DomainSampler(domains, config['batch_size'], 0)
    assert plain.batch(5)[:6] == whole[:6]
    # Ranks share it in whole identities.
    shares = []
    for rank in range(2):
        monkeypatch.setattr(
            domain_sampler, 'get_dist_info', lambda rank=rank: (rank, 2)
        )
        shares.append(DomainSampler(**config).batch(5))
    assert shares[0][:3] + shares[1][:3] == whole[:6]
    assert shares[0][3:] + shares[1][3:] == whole[6:]
    config['batch_size'] = dict(source=6, target=18)
    config['samplers']['target']['num_instances'] = 6
    with pytest.raises(ValueError, match='2 ranks into groups of 6'):
        DomainSampler(**config)


@pytest.mark.parametrize(
    'samplers, message',
    [
        (dict(goal=dict(type='ShuffleSampler')), "domains .'goal'."),
        (
            dict(source=dict(type='DefaultSampler')),
            "'DefaultSampler' is no sampler of a domain",
        ),
        (dict(source=dict(type='Nothing')), "'Nothing' is no sampler"),
    ],
)
def test_configs_that_do_not_fit(samplers, message):
    with pytest.raises(ValueError, match=message):
        DomainSampler(
            dict(source=range(8)), dict(source=4), 0, samplers=samplers
        )


def test_a_long_epoch_is_drawn_a_few_times(monkeypatch):
    """Three passes and more over the images, each batch as if drawn alone."""
    labels = np.repeat(np.arange(6), 4)
    args = (24, 8, (0, 0), labels, np.zeros(24))
    drawn = []
    draw = IdentitySampler._draw_epoch

    def note(self, epoch, num):
        drawn.append(num)
        return draw(self, epoch, num)

    monkeypatch.setattr(IdentitySampler, '_draw_epoch', note)
    sampler = IdentitySampler(*args)
    batches = [sampler.batch(1, position) for position in range(20)]
    assert drawn == [3, 6, 12, 24]
    for position in (0, 2, 7, 19):
        alone = IdentitySampler(*args).batch(1, position)
        np.testing.assert_array_equal(alone, batches[position])

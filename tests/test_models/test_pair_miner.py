import mar_reference as ref
import pytest
import torch
import torch.nn.functional as F

from mmreid.models.miners import FeatureGuidedMiner, SoftMultilabelMiner


def batch(seed, num=9):
    features = F.normalize(ref.double(num, 3, seed=seed))
    labels = (2 * ref.double(num, 5, seed=seed + 1000)).softmax(1)
    return features, labels


def as_lists(mined):
    pairs = list(zip(mined.first.tolist(), mined.second.tolist(), strict=True))
    return (
        [p for p, above in zip(pairs, mined.positive, strict=True) if above],
        [
            p
            for p, above in zip(pairs, mined.positive, strict=True)
            if not above
        ],
    )


def test_k_of_the_published_batch():
    assert SoftMultilabelMiner(0.005).num_similar(184) == 84
    assert SoftMultilabelMiner(0.005).num_similar(20) == 0


def test_ema_threshold_over_steps():
    miner = SoftMultilabelMiner(ratio=0.4).double()
    num_pairs, k = 36, 14
    features, labels = batch(77)
    threshold = ref.kth_largest_agreement(labels, k)
    miner.threshold.fill_(threshold)
    seen = set()
    for step in range(5):
        features, labels = batch(step)
        mined = miner(features, labels)
        # The batch is mined with the T before it.
        assert as_lists(mined) == ref.mine(features, labels, k, threshold)
        seen.update(mined.positive.tolist())
        # The k-th largest over all pairs, not over the similar ones.
        assert len(ref.all_pairs(9)) == num_pairs
        of_batch = ref.kth_largest_agreement(labels, k)
        threshold = 0.9 * threshold + 0.1 * of_batch
        assert miner.threshold.item() == pytest.approx(threshold, rel=1e-12)
    assert seen == {True, False}


def test_positive_is_strictly_above_the_threshold():
    miner = SoftMultilabelMiner(ratio=1.0)
    features = torch.eye(2)
    labels = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    miner.threshold.fill_(0.5)
    assert miner(features, labels).positive.tolist() == [False]
    miner.threshold.fill_(0.4375)
    assert miner(features, labels).positive.tolist() == [True]


def test_batch_threshold():
    miner = SoftMultilabelMiner(ratio=0.4, threshold='batch').double()
    k, num_positives = 14, 0
    for step in range(5):
        features, labels = batch(step)
        threshold = ref.kth_largest_agreement(labels, k)
        mined = miner(features, labels)
        assert miner.threshold.item() == pytest.approx(threshold, rel=1e-12)
        positive, _ = as_lists(mined)
        # With the pair that is the threshold itself.
        expected, _ = ref.mine(features, labels, k, threshold, strict=False)
        assert set(positive) == set(expected)
        num_positives += len(positive)
    assert num_positives


def test_batch_threshold_includes_the_kth_pair():
    # One similar pair, the pair of highest agreement too: Eq. 3 has it in P.
    miner = SoftMultilabelMiner(ratio=0.34, threshold='batch')
    features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    labels = torch.tensor([[0.75, 0.25], [0.625, 0.375], [0.0, 1.0]])
    assert miner(features, labels).positive.tolist() == [True]


@pytest.mark.parametrize('threshold', ['ema', 'batch'])
def test_no_similar_pair_leaves_the_threshold(threshold):
    miner = SoftMultilabelMiner(ratio=0.02, threshold=threshold).double()
    miner.threshold.fill_(0.3)
    mined = miner(*batch(0))
    assert [len(x) for x in mined] == [0, 0, 0]
    assert mined.positive.dtype == torch.bool
    assert miner.threshold == torch.tensor(0.3, dtype=torch.float64)


@pytest.mark.parametrize('ratio, k', [(0.4, 14), (0.42, 15), (0.03, 1)])
def test_feature_guided(ratio, k):
    miner = FeatureGuidedMiner(ratio)
    features, labels = batch(3)
    mined = miner(features, labels)
    assert as_lists(mined) == ref.mine_by_feature(features, k)
    # The soft multilabels have no say.
    again = miner(features, labels.flip(0))
    assert torch.equal(again.positive, mined.positive)


def test_mining_has_no_gradient():
    features, labels = batch(0)
    miner = SoftMultilabelMiner(ratio=0.4).double()
    miner.threshold.fill_(0.5)
    miner(features.requires_grad_(), labels.requires_grad_())
    assert not miner.threshold.requires_grad


def test_threshold_travels_in_the_state_dict():
    miner = SoftMultilabelMiner()
    miner.threshold.fill_(0.25)
    other = SoftMultilabelMiner()
    other.load_state_dict(miner.state_dict())
    assert other.threshold == 0.25


def test_unknown_threshold():
    with pytest.raises(ValueError, match="'ema' or 'batch'"):
        SoftMultilabelMiner(threshold='median')

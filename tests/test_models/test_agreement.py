import mar_reference as ref
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreid.models.utils import kth_largest_agreement, pairwise_agreement
from mmreid.models.utils.agreement import FINE_BELOW


def test_pairwise_agreement_is_the_sum_of_minima():
    labels = ref.double(7, 5).softmax(1)
    expected = [
        ref.agreement(labels[i], labels[j]) for i, j in ref.all_pairs(7)
    ]
    ref.close(pairwise_agreement(labels), torch.stack(expected))


def sorted_agreements(labels):
    """All of them, by the formula of the selection, in descending order."""
    fine = labels.dtype == torch.float64
    agreement = pairwise_agreement(labels, fine).clamp(0, 1)
    return agreement.sort(descending=True).values


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    num=st.integers(2, 12),
    distinct=st.integers(1, 12),
    chunk_size=st.integers(1, 14),
    sharpness=st.sampled_from([0.0, 1.0, 30.0, 1e6]),
    data=st.data(),
)
def test_kth_largest_equals_sorting(
    num, distinct, chunk_size, sharpness, data
):
    # Repeated rows tie, and 1e6 gives one-hot rows: agreements 0 and 1.
    rows = (sharpness * ref.double(distinct, 6, seed=num)).softmax(1).float()
    labels = rows[torch.arange(num) % distinct]
    num_pairs = num * (num - 1) // 2
    expected = sorted_agreements(labels)
    drawn = data.draw(st.integers(1, num_pairs))
    for k in {1, drawn, num_pairs}:
        found = kth_largest_agreement(labels, k, chunk_size)
        assert found.dtype == torch.float32 and found.dim() == 0
        # Bit by bit: the same numbers are compared, none is rounded, except
        # that small ones are computed with more digits.
        if expected[k - 1] < FINE_BELOW:
            assert found == sorted_agreements(labels.double())[k - 1].float()
        else:
            assert found == expected[k - 1]
        slow = ref.kth_largest_agreement(labels.double(), k)
        assert abs(found.item() - slow) < 1e-6


def test_kth_largest_of_many_pairs():
    labels = (3 * ref.double(150, 20)).softmax(1).float()
    expected = sorted_agreements(labels)
    for k in (1, 55, 5000, 11175):
        assert kth_largest_agreement(labels, k, 64) == expected[k - 1]


@pytest.mark.parametrize('chunk_size', [4, 16, 64])
def test_kth_largest_of_many_persons(chunk_size):
    labels = (3 * ref.double(40, 1500)).softmax(1).float()
    expected = sorted_agreements(labels.double())
    for k in (1, 39, 400, 780):
        found = kth_largest_agreement(labels, k, chunk_size)
        assert abs(found.item() - expected[k - 1].item()) < 3e-7


def test_kth_largest_leaves_its_input_alone():
    labels = ref.double(6, 5).softmax(1).float()
    before = labels.clone()
    kth_largest_agreement(labels, 3, 2)
    assert torch.equal(labels, before)


@pytest.mark.parametrize('k', [0, 11, -1])
def test_kth_largest_needs_a_rank_among_the_pairs(k):
    with pytest.raises(ValueError, match='between 1 and the number of pairs'):
        kth_largest_agreement(torch.zeros(5, 3), k)


def test_small_agreements_keep_their_digits():
    """Of nearly disjoint labels, such as a large scale gives."""
    labels = (40 * ref.double(30, 200, seed=3)).softmax(1)
    exact = sorted_agreements(labels)
    k = int((exact > FINE_BELOW).sum()) + 40
    assert 0 < exact[k - 1] < 1e-4
    found = kth_largest_agreement(labels.float(), k)
    assert found.item() == pytest.approx(exact[k - 1].item(), rel=1e-5)
    pairs = pairwise_agreement(labels.float(), fine=True)
    assert pairs.dtype == torch.float32
    torch.testing.assert_close(
        pairs.double(), pairwise_agreement(labels), rtol=1e-4, atol=1e-9
    )
    # Which the plain formula loses.
    plain = pairwise_agreement(labels.float()).double()
    error = (plain - pairwise_agreement(labels)).abs()
    assert (error > 0.01 * pairwise_agreement(labels)).any()

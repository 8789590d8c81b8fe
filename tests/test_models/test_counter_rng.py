import pytest
import torch

from mmreid.models import counter_uniform


def draws_of(**kwargs):
    arguments = (
        dict(seed=3, iteration=5, index=torch.arange(50000), num=3) | kwargs
    )
    return counter_uniform(**arguments)


def assert_uniform(numbers):
    numbers = numbers.double().flatten()
    num = len(numbers)
    assert 0 <= numbers.min() and numbers.max() < 1
    # Six standard deviations of each statistic.
    assert abs(numbers.mean() - 1 / 2) < 6 * (1 / 12 / num) ** 0.5
    assert abs(numbers.var() - 1 / 12) < 6 * (1 / 180 / num) ** 0.5
    count = torch.bincount((numbers * 64).long(), minlength=64)
    chi2 = ((count - num / 64) ** 2 / (num / 64)).sum()
    assert chi2 < 63 + 6 * (2 * 63) ** 0.5


@pytest.mark.parametrize('seed', [0, 1, 2**31 - 1, 2**63 + 5])
def test_uniform_over_samples(seed):
    draws = draws_of(seed=seed)
    assert draws.shape == (50000, 3) and draws.dtype == torch.float32
    for slot in draws.t():
        assert_uniform(slot)


def test_uniform_over_iterations_and_over_seeds():
    index = torch.tensor([4])
    for key in ('iteration', 'seed'):
        draws = [draws_of(index=index, num=1, **{key: i}) for i in range(1000)]
        assert_uniform(torch.cat(draws))


def test_uniform_over_slots():
    assert_uniform(draws_of(index=torch.tensor([4]), num=50000))


def test_counters_are_independent():
    base = draws_of()
    shifted = [
        base.roll(1, dims=1),
        base.roll(1, dims=0),
        draws_of(iteration=6),
        draws_of(seed=4),
        # Counters must not add up: (seed, iteration) + 1 against index + 1.
        draws_of(iteration=6, index=torch.arange(50000) - 1),
        draws_of(seed=4, iteration=4),
    ]
    for other in shifted:
        # 24 bits each: equal ones are rare (150,000 / 2^24 < 0.01 expected).
        assert (other == base).sum() <= 1
        correlation = torch.corrcoef(
            torch.stack([base.flatten(), other.flatten()]).double()
        )[0, 1]
        assert abs(correlation) < 6 / base.numel() ** 0.5


def test_draws_do_not_depend_on_the_layout():
    index = torch.tensor([7, 2, 2, 900000, 0])
    draws = draws_of(index=index)
    assert torch.equal(draws[1], draws[2])
    for i, row in zip(index, draws, strict=True):
        assert torch.equal(draws_of(index=i[None])[0], row)
        # A further slot leaves the others alone.
        assert torch.equal(draws_of(index=i[None], num=5)[0, :3], row)

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreid.datasets.samplers import (
    DomainSampler,
    ShuffleSampler,
    domain_sampler,
)


@st.composite
def setups(draw):
    """Domains side by side, a batch of each, a number of ranks."""
    world_size = draw(st.integers(1, 3))
    domains, batch_size, start = {}, {}, 0
    for name in ('source', 'target', 'other')[: draw(st.integers(1, 3))]:
        share = draw(st.integers(1, 4))
        size = draw(st.integers(share * world_size, 40))
        domains[name] = range(start, start + size)
        batch_size[name] = share * world_size
        start += size
    return domains, batch_size, world_size


def sampler_of(setup, rank=0, world_size=1, seed=0, **kwargs):
    domains, batch_size, _ = setup
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            domain_sampler, 'get_dist_info', lambda: (rank, world_size)
        )
        return DomainSampler(domains, batch_size, seed, **kwargs)


def batches_of(sampler):
    """What a loader makes of the stream."""
    share = len(sampler) // (sampler.end - sampler.begin)
    stream = iter(sampler)
    return list(iter(lambda: list(islice(stream, share)), []))


@given(setups(), st.integers(0, 25), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_any_batch_equals_walking_there(setup, k, stream):
    walked = batches_of(sampler_of(setup, stream=stream, end=k + 1))
    assert len(walked) == k + 1
    jumped = sampler_of(setup, stream=stream, begin=k, end=k + 1)
    assert batches_of(jumped) == [walked[k]]
    assert len(jumped) == len(walked[k])
    # Nor does it depend on which batches were asked for before.
    jumped.batch(k // 2)
    assert jumped.batch(k) == walked[k]


def test_far_batch_is_not_walked_to(monkeypatch):
    domains = dict(source=range(50), target=range(50, 90))
    sampler = DomainSampler(domains, dict(source=8, target=8), 0)
    shuffles = []
    permutation = ShuffleSampler._permutation
    monkeypatch.setattr(
        ShuffleSampler,
        '_permutation',
        lambda *args: shuffles.append(args) or permutation(*args),
    )
    batch = sampler.batch(10**9)
    assert len(shuffles) == 2
    assert batch == DomainSampler(
        domains, dict(source=8, target=8), 0, begin=10**9, end=10**9 + 1
    ).batch(10**9)


@given(setups())
@settings(max_examples=40, deadline=None)
def test_a_pass_gives_each_image_at_most_once(setup):
    domains, batch_size, _ = setup
    sampler = sampler_of(setup)
    first = next(iter(batch_size))
    assert len(sampler) == sampler.epoch_length * sum(batch_size.values())
    seen = {name: [] for name in domains}
    for k, batch in enumerate(batches_of(sampler)):
        start = 0
        for name, num in batch_size.items():
            part = batch[start : start + num]
            # In the order of batch_size, each from its own domain.
            assert set(part) <= set(domains[name])
            start += num
            if k % (len(domains[name]) // num) == 0:
                seen[name] = []
            seen[name] += part
            assert len(seen[name]) == len(set(seen[name]))
        assert start == len(batch)
    # The first domain leaves less than a batch.
    left = len(domains[first]) - len(seen[first])
    assert 0 <= left < batch_size[first]


@given(setups(), st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_ranks_together_give_the_batch(setup, k):
    _, batch_size, world_size = setup
    whole = sampler_of(setup).batch(k)
    shares = [
        sampler_of(setup, rank, world_size).batch(k)
        for rank in range(world_size)
    ]
    start, place = 0, 0
    for num in batch_size.values():
        share = num // world_size
        together = [i for s in shares for i in s[place : place + share]]
        assert together == whole[start : start + num]
        start, place = start + num, place + share
    assert start == len(whole)
    assert all(place == len(s) for s in shares)


def test_source_comes_first_whatever_the_order_in_the_config():
    domains = dict(source=range(9), target=range(9, 30))
    one, other = (
        DomainSampler(domains, batch_size, 0)
        for batch_size in (dict(target=4, source=3), dict(source=3, target=4))
    )
    assert list(one) == list(other)
    assert one.epoch_length == 3 and max(one.batch(0)[:3]) < 9


def test_everything_shuffles_differently():
    setup = dict(source=range(40), target=range(40, 80)), {}, 1
    setup[1].update(source=40, target=20)
    orders = [
        sampler_of(setup, seed=seed, stream=stream).batch(k)[:40]
        for seed in (0, 1)
        for stream in (0, 1)
        for k in range(3)
    ]
    assert len({tuple(order) for order in orders}) == len(orders)
    assert all(sorted(order) == list(range(40)) for order in orders)
    batch = sampler_of(setup).batch(0)
    # Neither do the domains share an order, nor a target's two passes.
    assert [i + 40 for i in batch[:20]] != batch[40:]
    setup[1].update(source=10)
    sampler = sampler_of(setup)
    passes = [sampler.batch(k)[10:] for k in range(4)]
    assert sorted(passes[0] + passes[1]) == list(range(40, 80))
    assert passes[:2] != passes[2:]


@pytest.mark.parametrize(
    'batch_size, world_size, message',
    [
        (dict(source=4, goal=4), 1, "the domain 'goal'.*'source', 'target'"),
        (dict(source=4, target=9), 1, '9 images of the target.* only 8'),
        (dict(source=5, target=4), 2, 'source=5 .* the 2 ranks'),
    ],
)
def test_errors(batch_size, world_size, message):
    domains = dict(source=range(9), target=range(9, 17))
    with pytest.raises(ValueError, match=message):
        sampler_of((domains, batch_size, None), 0, world_size)

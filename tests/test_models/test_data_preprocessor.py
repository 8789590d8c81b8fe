import mar_reference as ref
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreid.models.utils import ReIDDataPreprocessor, counter_uniform

MEAN, STD = (100.0, 120.0, 90.0), (50.0, 60.0, 40.0)
SOURCE_MEAN, SOURCE_STD = (79.0, 74.0, 77.0), (67.0, 64.0, 62.0)


def preprocessor(**kwargs):
    return ReIDDataPreprocessor(
        **(
            dict(
                mean=MEAN,
                std=STD,
                source_mean=SOURCE_MEAN,
                source_std=SOURCE_STD,
                crop_padding=3,
            )
            | kwargs
        )
    )


def batch(num_source=4, num_target=5, height=9, width=6, **kwargs):
    generator = np.random.default_rng(0)
    num = num_source + num_target
    images = generator.integers(1, 256, (num, 3, height, width), np.uint8)
    samples = dict(
        sample_idx=torch.cat(
            [torch.arange(num_source), torch.arange(num_target)]
        ),
        domain=torch.tensor([0] * num_source + [1] * num_target),
        num_source=num_source,
        seed=11,
        iteration=6,
        stage='main',
    )
    return dict(inputs=torch.from_numpy(images), data_samples=samples | kwargs)


def slow(data, training=True, padding=3, flip_prob=0.5, rgb=True):
    """One image after the other, given the same draws."""
    samples, outputs = data['data_samples'], []
    for i, image in enumerate(data['inputs']):
        # The draws must tell a source from a target image of equal index.
        index = samples['sample_idx'][i : i + 1] * 2 + samples['domain'][i]
        flip, top, left = counter_uniform(
            samples['seed'], samples['iteration'], index, 3
        )[0].tolist()
        from_source = training and i < samples['num_source']
        pixels = image.permute(1, 2, 0).tolist()
        if rgb:
            pixels = [[p[::-1] for p in row] for row in pixels]
        outputs.append(
            ref.crop_flip_normalise(
                pixels,
                flip=training and flip < flip_prob,
                top=int(top * (2 * padding + 1)) if training else padding,
                left=int(left * (2 * padding + 1)) if training else padding,
                padding=padding,
                mean=SOURCE_MEAN if from_source else MEAN,
                std=SOURCE_STD if from_source else STD,
            )
        )
    return torch.stack(outputs)


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(),
        dict(crop_padding=0),
        dict(flip_prob=0.0),
        dict(flip_prob=1.0, crop_padding=7),
        dict(bgr_to_rgb=False),
    ],
    ids=str,
)
@pytest.mark.parametrize('iteration', [0, 6, 123456])
def test_training_equals_one_image_after_the_other(kwargs, iteration):
    data = batch(iteration=iteration)
    before = data['inputs'].clone()
    output = preprocessor(**kwargs)(data, training=True)
    expected = slow(
        data,
        padding=kwargs.get('crop_padding', 3),
        flip_prob=kwargs.get('flip_prob', 0.5),
        rgb=kwargs.get('bgr_to_rgb', True),
    )
    assert output['inputs'].dtype == torch.float32
    torch.testing.assert_close(
        output['inputs'].double(), expected, rtol=1e-5, atol=1e-6
    )
    assert torch.equal(data['inputs'], before)
    assert output['data_samples']['stage'] == 'main'


def test_draws_vary_within_the_batch():
    data = batch(num_source=32, num_target=32)
    data['inputs'][:] = data['inputs'][0]
    # Source and target image of one index must not be augmented alike.
    output = preprocessor(source_mean=None, source_std=None)(data, True)
    source, target = output['inputs'].split(32)
    assert sum(map(torch.equal, source, target)) <= 4
    different = {image.numpy().tobytes() for image in output['inputs']}
    # 49 windows x 2, 64 images: some fall together.
    assert len(different) > 32


def test_black_padding_comes_before_normalising():
    data = batch()
    data['inputs'][:] = 255
    output = preprocessor(crop_padding=9)(data, True)['inputs']
    black = -torch.tensor([SOURCE_MEAN, MEAN]) / torch.tensor(
        [SOURCE_STD, STD]
    )
    for images, values in zip(output.split([4, 5]), black, strict=True):
        minimum = images.amin((0, 2, 3))
        torch.testing.assert_close(minimum, values)


def test_testing_normalises_with_the_statistics_of_the_target():
    data = batch()
    # Nothing but the images is needed.
    data['data_samples'] = dict(person_id=torch.arange(9))
    output = preprocessor()(data, training=False)['inputs']
    data['data_samples'] = batch()['data_samples']
    torch.testing.assert_close(
        output.double(), slow(data, training=False), rtol=1e-5, atol=1e-6
    )


def test_source_statistics_default_to_those_of_the_target():
    data = batch()
    ours = preprocessor(source_mean=None, source_std=None)(data, True)
    everywhere = preprocessor(source_mean=MEAN, source_std=STD)(data, True)
    assert torch.equal(ours['inputs'], everywhere['inputs'])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(order=st.permutations(range(9)), size=st.integers(1, 9))
def test_result_of_an_image_does_not_depend_on_its_batch(order, size):
    data = batch()
    process = preprocessor(source_mean=None, source_std=None)
    together = process(data, True)['inputs']
    chosen = torch.tensor(order[:size])
    samples = data['data_samples']
    part = dict(
        inputs=data['inputs'][chosen],
        data_samples=dict(
            samples,
            sample_idx=samples['sample_idx'][chosen],
            domain=samples['domain'][chosen],
            num_source=0,
        ),
    )
    assert torch.equal(process(part, True)['inputs'], together[chosen])


@pytest.mark.parametrize('key', ['iteration', 'seed'])
def test_another_iteration_or_seed_augments_differently(key):
    data, process = batch(), preprocessor()
    first = process(data, True)['inputs']
    assert torch.equal(process(data, True)['inputs'], first)
    data['data_samples'][key] += 1
    again = process(data, True)['inputs']
    assert sum(map(torch.equal, first, again)) <= 2


# counter_uniform


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

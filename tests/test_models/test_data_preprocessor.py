from types import SimpleNamespace

import mar_reference as ref
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreid.datasets import ImageList
from mmreid.models import ReIDDataPreprocessor, counter_uniform
from mmreid.registry import MODELS

MEAN, STD = (100.0, 120.0, 90.0), (50.0, 60.0, 40.0)
SOURCE_MEAN, SOURCE_STD = (79.0, 74.0, 77.0), (67.0, 64.0, 62.0)
SOURCE = dict(source=dict(mean=SOURCE_MEAN, std=SOURCE_STD))
EVERY_STEP = [
    dict(type='RandomFlipCrop', padding=3),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, hue=0.1),
    dict(type='RandomErasing', prob=0.7),
]


def preprocessor(flip_prob=0.5, padding=3, **kwargs):
    flip_crop = dict(
        type='RandomFlipCrop', flip_prob=flip_prob, padding=padding
    )
    arguments = dict(
        mean=MEAN, std=STD, domains=SOURCE, augmentations=[flip_crop]
    )
    return ReIDDataPreprocessor(**(arguments | kwargs))


def batch(num_source=4, num_target=5, height=9, width=6, seed=11, iteration=6):
    generator = np.random.default_rng(0)
    num = num_source + num_target
    images = generator.integers(1, 256, (num, 3, height, width), np.uint8)
    return dict(
        inputs=torch.from_numpy(images),
        data_samples=dict(
            sample_idx=torch.cat(
                [torch.arange(num_source), torch.arange(num_target)]
            ),
            domain=torch.arange(num).ge(num_source).long(),
        ),
        info=SimpleNamespace(
            seed=seed,
            iteration=iteration,
            stage='main',
            epoch=0,
            domains=dict(
                source=slice(0, num_source), target=slice(num_source, num)
            ),
        ),
    )


def slow(data, training=True, padding=3, flip_prob=0.5, rgb=True):
    """One image after the other, given the same draws."""
    samples, info, outputs = data['data_samples'], data['info'], []
    for i, image in enumerate(data['inputs']):
        # The draws must tell a source from a target image of equal index.
        index = samples['sample_idx'][i : i + 1] * 2 + samples['domain'][i]
        flip, top, left = counter_uniform(info.seed, info.iteration, index, 3)[
            0
        ].tolist()
        from_source = training and samples['domain'][i] == 0
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


def expected_bits(data, padding=7):
    """The default steps in float32, by broadcast indexing of the batch."""
    samples, info = data['data_samples'], data['info']
    inputs = data['inputs']
    height, width = inputs.shape[2:]
    draws = counter_uniform(
        info.seed,
        info.iteration,
        samples['sample_idx'] * 2 + samples['domain'],
        3,
    )
    offsets = (draws[:, 1:] * (2 * padding + 1)).long()
    rows = torch.arange(height) + offsets[:, :1]
    columns = torch.arange(width).expand(len(inputs), -1)
    columns = torch.where(draws[:, :1] < 0.5, width - 1 - columns, columns)
    columns = columns + offsets[:, 1:]
    images = F.pad(inputs, [padding] * 4)[
        torch.arange(len(inputs))[:, None, None, None],
        torch.arange(3)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
    images = images.flip(1).float()
    num_source = (samples['domain'] == 0).sum()
    mean, std, source_mean, source_std = (
        torch.tensor(values).view(3, 1, 1)
        for values in (MEAN, STD, SOURCE_MEAN, SOURCE_STD)
    )
    return torch.cat(
        [
            (images[:num_source] - source_mean) / source_std,
            (images[num_source:] - mean) / std,
        ]
    )


# Training


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(),
        dict(padding=0),
        dict(flip_prob=0.0),
        dict(flip_prob=1.0, padding=7),
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
        padding=kwargs.get('padding', 3),
        flip_prob=kwargs.get('flip_prob', 0.5),
        rgb=kwargs.get('bgr_to_rgb', True),
    )
    assert output['inputs'].dtype == torch.float32
    torch.testing.assert_close(
        output['inputs'].double(), expected, rtol=1e-5, atol=1e-6
    )
    assert torch.equal(data['inputs'], before)
    assert output['info'] is data['info']
    assert set(output['data_samples']) == set(data['data_samples'])


@pytest.mark.parametrize('num_source', [0, 40, 130])
def test_default_steps_give_the_stated_bits(num_source):
    data = batch(num_source, 130 - num_source, 16, 9)
    process = preprocessor(augmentations=None)
    output = process(data, training=True)['inputs']
    assert torch.equal(output, expected_bits(data))


def test_draws_vary_within_the_batch():
    data = batch(num_source=32, num_target=32)
    data['inputs'][:] = data['inputs'][0]
    # Source and target image of one index must not be augmented alike.
    output = preprocessor(domains=None)(data, True)
    source, target = output['inputs'].split(32)
    assert sum(map(torch.equal, source, target)) <= 4
    different = {image.numpy().tobytes() for image in output['inputs']}
    # 49 windows x 2, 64 images: some fall together.
    assert len(different) > 32


def test_images_of_many_domains_have_draws_of_their_own():
    process = preprocessor()
    data = batch()
    drawn = set()
    for domain in range(7):
        data['data_samples'] = dict(
            sample_idx=torch.arange(100),
            domain=torch.full((100,), domain),
        )
        ((_, draws),) = process.draw(data)
        drawn |= {tuple(row) for row in draws.tolist()}
    assert len(drawn) == 700


def test_step_at_the_end_leaves_the_draws_of_the_others():
    data = batch()
    everything = preprocessor(augmentations=EVERY_STEP).draw(data)
    key = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7, 9])
    flat = counter_uniform(11, 6, key, 3 + 5 + 23)
    together = torch.cat([draws for _, draws in everything], 1)
    assert torch.equal(together, flat)
    for num in range(3):
        fewer = preprocessor(augmentations=EVERY_STEP[:num]).draw(data)
        assert len(fewer) == num
        for (_, ours), (_, theirs) in zip(fewer, everything, strict=False):
            assert torch.equal(ours, theirs)


def test_steps_run_in_the_order_of_the_list():
    data = batch()
    process = preprocessor(augmentations=EVERY_STEP, domains=None)
    images = data['inputs']
    for cfg, (_, draws) in zip(EVERY_STEP, process.draw(data), strict=True):
        images = MODELS.build(cfg)(images, draws)
    output = process(data, True)['inputs']
    data['inputs'] = images
    assert torch.equal(output, process(data)['inputs'])
    assert not torch.equal(images, batch()['inputs'])


def test_no_step_is_normalisation_only():
    data = batch()
    process = preprocessor(augmentations=[], domains=None)
    assert torch.equal(
        process(data, True)['inputs'], process(data, False)['inputs']
    )


@pytest.mark.parametrize('bgr_to_rgb', [True, False])
def test_steps_see_the_colours_whatever_the_order_of_the_model(bgr_to_rgb):
    data = batch()
    data['inputs'][:] = torch.tensor([10, 20, 200]).byte().view(3, 1, 1)
    # A turn by a third: red to green, green to blue, blue to red.
    shift = dict(type='ColorJitter', hue=(1 / 3, 1 / 3))
    process = preprocessor(
        augmentations=[shift],
        domains=None,
        mean=[0] * 3,
        std=[1] * 3,
        bgr_to_rgb=bgr_to_rgb,
    )
    pixel = process(data, True)['inputs'][0, :, 0, 0].tolist()
    assert pixel == ([10, 200, 20] if bgr_to_rgb else [20, 200, 10])


def test_black_padding_comes_before_normalising():
    data = batch()
    data['inputs'][:] = 255
    output = preprocessor(padding=9)(data, True)['inputs']
    black = -torch.tensor([SOURCE_MEAN, MEAN]) / torch.tensor(
        [SOURCE_STD, STD]
    )
    for images, values in zip(output.split([4, 5]), black, strict=True):
        minimum = images.amin((0, 2, 3))
        torch.testing.assert_close(minimum, values)


def test_empty_batch_stays_empty():
    data = batch(num_source=0, num_target=0)
    output = preprocessor(augmentations=EVERY_STEP)(data, True)['inputs']
    assert output.shape == (0, 3, 9, 6) and output.dtype == torch.float32


# Determinism


def take(data, chosen):
    """The chosen rows of a batch, all of them as the domain target."""
    samples = data['data_samples']
    return dict(
        inputs=data['inputs'][chosen],
        data_samples={key: value[chosen] for key, value in samples.items()},
        info=SimpleNamespace(
            seed=data['info'].seed,
            iteration=data['info'].iteration,
            domains=dict(target=slice(0, len(chosen))),
        ),
    )


@settings(max_examples=20, deadline=None, derandomize=True)
@given(order=st.permutations(range(9)), size=st.integers(1, 9))
def test_result_of_an_image_does_not_depend_on_its_batch(order, size):
    data = batch()
    process = preprocessor(domains=None, augmentations=EVERY_STEP)
    together = process(data, True)['inputs']
    chosen = torch.tensor(order[:size])
    part = process(take(data, chosen), True)['inputs']
    assert torch.equal(part, together[chosen])


def test_two_ranks_together_equal_one():
    data = batch(num_source=8, num_target=6)
    process = preprocessor(augmentations=EVERY_STEP)
    whole = process(data, True)['inputs']
    for rank in range(2):
        rows = torch.cat(
            [torch.arange(rank, 8, 2), torch.arange(8 + rank, 14, 2)]
        )
        part = take(data, rows)
        part['info'].domains = dict(source=slice(0, 4), target=slice(4, 7))
        assert torch.equal(process(part, True)['inputs'], whole[rows])


@pytest.mark.parametrize('chunk_size', [1, 2, 5])
def test_chunks_do_not_matter(chunk_size, monkeypatch):
    data = batch()
    process = preprocessor(augmentations=EVERY_STEP)
    expected = process(data, True)['inputs']
    monkeypatch.setattr(process, 'chunk_size', chunk_size)
    assert torch.equal(process(data, True)['inputs'], expected)


@pytest.mark.parametrize('key', ['iteration', 'seed'])
def test_another_iteration_or_seed_augments_differently(key):
    data, process = batch(), preprocessor()
    first = process(data, True)['inputs']
    assert torch.equal(process(data, True)['inputs'], first)
    setattr(data['info'], key, getattr(data['info'], key) + 1)
    again = process(data, True)['inputs']
    assert sum(map(torch.equal, first, again)) <= 2


@pytest.mark.parametrize('training', [True, False])
def test_preprocessing_needs_no_value_on_the_host(training):
    # A tensor on this device has no values: reading one raises an error.
    process = preprocessor(augmentations=EVERY_STEP).to('meta')
    output = process(batch(), training)['inputs']
    assert output.device.type == 'meta'


# Normalisation


def test_testing_normalises_with_the_common_numbers():
    data = batch()
    # Nothing but the images is needed.
    data['data_samples'] = dict(person_id=torch.arange(9))
    data.pop('info')
    output = preprocessor()(data, training=False)
    assert set(output) == {'inputs', 'data_samples'}
    torch.testing.assert_close(
        output['inputs'].double(),
        slow(batch(), training=False),
        rtol=1e-5,
        atol=1e-6,
    )


def normalised(data, mean, std):
    process = ReIDDataPreprocessor(mean, std)
    return process(dict(data), training=False)['inputs']


def test_testing_of_a_named_domain_uses_its_numbers():
    data = batch()
    named = preprocessor()(data | dict(domain='source'), training=False)
    assert 'domain' not in named
    expected = normalised(data, SOURCE_MEAN, SOURCE_STD)
    assert torch.equal(named['inputs'], expected)
    # A domain without numbers of its own.
    other = preprocessor()(data | dict(domain='target'), training=False)
    assert torch.equal(other['inputs'], normalised(data, MEAN, STD))


def test_training_normalises_every_domain_with_its_numbers():
    data = batch()
    other = dict(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    process = preprocessor(
        augmentations=[], domains=SOURCE | dict(b=other, absent=other)
    )
    # Rows in any order; `c` has no numbers of its own.
    rows = dict(c=slice(0, 2), b=slice(2, 6), source=slice(6, 9))
    data['info'].domains = rows
    output = process(data, True)['inputs']
    numbers = dict(c=(MEAN, STD), source=(SOURCE_MEAN, SOURCE_STD))
    numbers['b'] = other['mean'], other['std']
    for name, part in rows.items():
        expected = normalised(data, *numbers[name])
        assert torch.equal(output[part], expected[part])


def test_numbers_are_not_saved():
    assert not preprocessor(augmentations=EVERY_STEP).state_dict()


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(mean=[1.0]), 'mean must be three numbers'),
        (dict(std=[1.0] * 4), 'std must be three numbers'),
        (dict(std=[1.0, 0.0, 1.0]), 'std must be positive'),
        (
            dict(domains=dict(a=dict(mean=[0] * 3, std=[1, 1, -1]))),
            r"domains\['a'\].std must be positive",
        ),
        (
            dict(domains=dict(a=dict(mean=[0] * 2, std=[1] * 3))),
            r"domains\['a'\].mean must be three numbers",
        ),
        (
            dict(domains=dict(a=dict(mean=[0] * 3))),
            r"domains\['a'\] must hold exactly mean and std",
        ),
    ],
    ids=str,
)
def test_wrong_numbers_are_an_error(kwargs, message):
    with pytest.raises(ValueError, match=message):
        preprocessor(**kwargs)


@pytest.mark.parametrize('bgr_to_rgb', [True, False])
def test_measured_statistics(bgr_to_rgb):
    images = [
        np.random.default_rng(i).integers(0, 90 * (1 + i % 3), (6, 4, 3))
        for i in range(70)
    ]
    images = [image.astype(np.uint8) for image in images]
    dataset = ImageList(images, [dict(type='PackReIDInputs')])
    ours = ReIDDataPreprocessor(measured_on='target', bgr_to_rgb=bgr_to_rgb)
    assert ours.mean.isnan().all()
    ours.measure(dataset)
    pixels = np.stack(images).reshape(-1, 3).astype(np.float64)
    if bgr_to_rgb:
        pixels = pixels[:, ::-1]
    for buffer, values in (
        (ours.mean, pixels.mean(0)),
        (ours.std, pixels.std(0)),
    ):
        assert buffer.flatten().tolist() == pytest.approx(values, rel=1e-5)
    # A test takes those of the checkpoint, a training keeps its own.
    tested = ReIDDataPreprocessor(measured_on='target')
    tested.load_state_dict(ours.state_dict())
    assert torch.equal(tested.mean, ours.mean)
    other = ReIDDataPreprocessor(measured_on='target')
    other.measure(ImageList(images[:9], [dict(type='PackReIDInputs')]))
    own = other.std.clone()
    other.load_state_dict(ours.state_dict())
    assert torch.equal(other.std, own) and not torch.equal(own, ours.std)


@pytest.mark.parametrize(
    'arguments',
    [
        dict(),
        dict(mean=MEAN),
        dict(mean=MEAN, std=STD, measured_on='target'),
        dict(std=STD, measured_on='target'),
    ],
    ids=str,
)
def test_numbers_or_where_to_measure_them(arguments):
    with pytest.raises(ValueError, match='needs mean and std, or the domain'):
        ReIDDataPreprocessor(**arguments)

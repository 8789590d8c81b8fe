import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from mmreid.models import ColorJitter, RandomErasing, RandomFlipCrop
from mmreid.registry import MODELS

STEPS = [
    RandomFlipCrop(padding=3),
    ColorJitter(0.4, 0.5, (0.2, 1.7), 0.3, prob=0.8),
    RandomErasing(prob=0.7),
]


def images_of(num=9, height=11, width=7):
    generator = np.random.default_rng(0)
    return torch.from_numpy(
        generator.integers(0, 256, (num, 3, height, width), np.uint8)
    )


def draws_of(step, num=9):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(num, step.num_draws, generator=generator)


def name(value):
    return type(value).__name__


# What every step promises


@pytest.mark.parametrize('step', STEPS, ids=name)
def test_step_keeps_shape_and_dtype_and_its_input(step):
    images, draws = images_of(), draws_of(step)
    before = images.clone()
    output = step(images, draws)
    assert output.dtype == torch.uint8 and output.shape == images.shape
    assert torch.equal(images, before)
    assert not torch.equal(output, before)
    assert torch.equal(step(images, draws), output)


@pytest.mark.parametrize('step', STEPS, ids=name)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(order=st.permutations(range(9)), size=st.integers(1, 9))
def test_result_of_an_image_does_not_depend_on_its_batch(step, order, size):
    images, draws = images_of(), draws_of(step)
    chosen = order[:size]
    part = step(images[chosen], draws[chosen])
    assert torch.equal(part, step(images, draws)[chosen])


@pytest.mark.parametrize('step', STEPS, ids=name)
def test_step_needs_no_value_on_the_host(step):
    # A tensor on this device has no values: reading one raises an error.
    images = images_of().to('meta')
    draws = draws_of(step).to('meta')
    assert copy.deepcopy(step).to('meta')(images, draws).device.type == 'meta'


@pytest.mark.parametrize('step', STEPS, ids=name)
def test_step_saves_nothing(step):
    assert not step.state_dict()


@pytest.mark.parametrize(
    'cfg, message',
    [
        (dict(type='RandomFlipCrop', flip_prob=1.5), r'\[0, 1\], got 1.5'),
        (dict(type='RandomFlipCrop', padding=-1), 'padding .* got -1'),
        (dict(type='RandomErasing', prob=-0.1), r'\[0, 1\], got -0.1'),
        (dict(type='RandomErasing', area=(0.4, 0.02)), 'area .* least first'),
        (dict(type='RandomErasing', area=(0.1, 1.2)), r'area .* \(0, 1\]'),
        (dict(type='RandomErasing', area=(0.1,)), 'area must be two'),
        (dict(type='RandomErasing', aspect=(0, 1)), 'aspect .* positive'),
        (dict(type='RandomErasing', fill=(0, 0)), 'fill must be three'),
        (dict(type='RandomErasing', fill=(0, 0, 256)), r'\[0, 255\]'),
        (dict(type='ColorJitter', prob=2), r'\[0, 1\], got 2'),
        (dict(type='ColorJitter', brightness=-1), 'brightness'),
        (dict(type='ColorJitter', hue=0.6), 'hue'),
        (dict(type='ColorJitter', hue=(0.2, -0.2)), 'hue'),
    ],
    ids=str,
)
def test_wrong_value_is_an_error(cfg, message):
    with pytest.raises(ValueError, match=message) as error:
        MODELS.build(cfg)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('step', STEPS, ids=name)
def test_unknown_option_is_an_error(step):
    with pytest.raises(TypeError, match='p_flip'):
        MODELS.build(dict(type=type(step).__name__, p_flip=0.5))


# RandomFlipCrop


def reference_flip_crop(images, draws, flip_prob, padding):
    """Index the padded images with four broadcast index tensors."""
    height, width = images.shape[2:]
    offsets = (draws[:, 1:] * (2 * padding + 1)).long()
    rows = torch.arange(height) + offsets[:, :1]
    columns = torch.arange(width).expand(len(images), -1)
    flip = draws[:, :1] < flip_prob
    columns = torch.where(flip, width - 1 - columns, columns)
    columns = columns + offsets[:, 1:]
    return F.pad(images, [padding] * 4)[
        torch.arange(len(images))[:, None, None, None],
        torch.arange(3)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


@pytest.mark.parametrize('way', ['_slice', '_gather'])  # CPU, others
@pytest.mark.parametrize('padding', [0, 1, 7, 12])
@pytest.mark.parametrize('flip_prob', [0.0, 0.5, 1.0])
def test_flip_crop_equals_its_formula(monkeypatch, flip_prob, padding, way):
    function = staticmethod(getattr(RandomFlipCrop, way))
    monkeypatch.setattr(RandomFlipCrop, '_slice', function)
    step = RandomFlipCrop(flip_prob, padding)
    images, draws = images_of(40), draws_of(step, 40)
    expected = reference_flip_crop(images, draws, flip_prob, padding)
    assert torch.equal(step(images, draws), expected)


def test_flip_crop_reaches_every_window_and_its_mirror():
    step = RandomFlipCrop(padding=1)
    image = images_of(1)
    padded = np.pad(image[0].numpy(), [(0, 0), (1, 1), (1, 1)])
    windows = set()
    for top in range(3):
        for left in range(3):
            window = padded[:, top : top + 11, left : left + 7]
            windows |= {window.tobytes(), window[:, :, ::-1].tobytes()}
    output = step(image.expand(400, -1, -1, -1), draws_of(step, 400))
    assert {one.numpy().tobytes() for one in output} == windows


# RandomErasing


def slow_erasing(image, draws, prob, area, aspect, fill):
    """Erase in one (H, W, 3) image, try by try."""
    height, width = image.shape[:2]
    image = image.copy()
    erase, *sizes, row, column = draws.tolist()
    if erase >= prob:
        return image
    for i in range(10):
        share = area[0] + sizes[2 * i] * (area[1] - area[0])
        low, high = math.log(aspect[0]), math.log(aspect[1])
        ratio = math.exp(low + sizes[2 * i + 1] * (high - low))
        h = round(math.sqrt(share * height * width * ratio))
        w = round(math.sqrt(share * height * width / ratio))
        if h < height and w < width:
            top = int(row * (height - h + 1))
            left = int(column * (width - w + 1))
            image[top : top + h, left : left + w] = fill[::-1]
            return image
    return image


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(),
        dict(prob=1.0),
        dict(prob=0.0),
        dict(prob=1.0, area=(0.6, 1.0), aspect=(0.1, 8.0)),
        dict(prob=1.0, area=(0.5, 0.5), aspect=(1.0, 1.0)),
        dict(prob=1.0, fill=(1, 2, 250)),
    ],
    ids=str,
)
@pytest.mark.parametrize('size', [(24, 8), (7, 11)], ids=str)
def test_erasing_equals_one_image_after_the_other(kwargs, size):
    step = RandomErasing(**kwargs)
    images, draws = images_of(60, *size), draws_of(step, 60)
    options = dict(
        prob=0.5, area=(0.02, 0.4), aspect=(0.3, 1 / 0.3), fill=(124, 116, 104)
    )
    options |= kwargs
    output = step(images, draws)
    for i in range(60):
        image = images[i].permute(1, 2, 0).numpy()
        expected = slow_erasing(image, draws[i], **options)
        np.testing.assert_array_equal(output[i].permute(1, 2, 0), expected)


def test_erasing_takes_the_first_try_that_fits():
    # Squares of half the area of an image 8 x 32: side 11, too high.
    step = RandomErasing(prob=1.0, area=(0.02, 0.5), aspect=(1.0, 1.0))
    images = torch.zeros(3, 3, 8, 32, dtype=torch.uint8)
    draws = torch.full((3, step.num_draws), 1 - 2**-24)
    draws[:, 0] = 0
    draws[1, 5] = draws[1, 9] = 0  # The third and the fifth try: a small one.
    draws[2, 1] = 0.2  # The first: side 5.
    erased = (step(images, draws) > 0).any(1)
    assert erased.sum((1, 2)).tolist() == [0, 4, 25]
    # The last draws below 1 touch the lower right corner.
    assert erased[1:, -1, -1].all()


def test_erasing_covers_the_stated_shares_and_places():
    step = RandomErasing(prob=0.3, fill=(255, 255, 255))
    images = torch.zeros(2000, 3, 32, 16, dtype=torch.uint8)
    erased = step(images, draws_of(step, 2000))[:, 0] > 0
    share = erased.double().mean((1, 2))
    happened = share > 0
    assert abs(happened.double().mean() - 0.3) < 6 * (0.21 / 2000) ** 0.5
    share = share[happened]
    # Rounding of the sides changes the share a little.
    assert 0.01 < share.min() < 0.05 and 0.33 < share.max() < 0.45
    assert erased[:, 0].any() and erased[:, -1].any()
    assert erased[:, :, 0].any() and erased[:, :, -1].any()


# ColorJitter

ADJUST = dict(
    brightness=tv.adjust_brightness,
    contrast=tv.adjust_contrast,
    saturation=tv.adjust_saturation,
    hue=tv.adjust_hue,
)
NAMES = list(ADJUST)


def colours():
    """Every combination of some levels, greys and primaries included."""
    levels = torch.tensor([0, 1, 30, 77, 128, 200, 254, 255])
    grid = torch.stack(torch.meshgrid(*[levels] * 3, indexing='ij'))
    return grid.view(3, 32, 16).byte()


def adjust(kind, image, factor):
    """torchvision's function on levels (3, H, W), float64, not rounded."""
    if kind in ('brightness', 'hue'):
        return ADJUST[kind](image / 255, factor) * 255
    # torchvision takes whole levels of grey for uint8 images alone.
    grey = tv.rgb_to_grayscale(image).floor()
    other = grey.mean() if kind == 'contrast' else grey
    return (image * factor + other * (1 - factor)).clamp(0, 255)


def factor_of(draw, limits):
    return limits[0] + float(draw) * (limits[1] - limits[0])


@pytest.mark.parametrize(
    'option, limits',
    [
        (dict(brightness=0.5), (0.5, 1.5)),
        (dict(brightness=2.0), (0.0, 3.0)),
        (dict(contrast=0.8), (0.2, 1.8)),
        (dict(contrast=(0.0, 3.0)), (0.0, 3.0)),
        (dict(saturation=(0.3, 2.5)), (0.3, 2.5)),
        (dict(hue=0.5), (-0.5, 0.5)),
        (dict(hue=(-0.2, -0.1)), (-0.2, -0.1)),
    ],
    ids=str,
)
def test_one_colour_change_equals_torchvision(option, limits):
    step = ColorJitter(**option)
    (kind,) = option
    images = torch.stack([colours(), colours().flip(0), *images_of(9, 32, 16)])
    draws = draws_of(step, len(images))
    output = step(images, draws).flip(1)
    for i, image in enumerate(images.flip(1)):
        factor = factor_of(draws[i, 1 + NAMES.index(kind)], limits)
        ours = output[i].double()
        theirs = ADJUST[kind](image, factor)
        assert (ours - theirs).abs().max() <= 1
        exact = adjust(kind, image.double(), factor)
        assert (ours - exact).abs().max() <= 0.501


def test_colour_changes_follow_each_other_and_round_once():
    step = ColorJitter(0.3, 0.3, 0.3, 0.2, prob=0.6)
    images, draws = images_of(40, 6, 5), draws_of(step, 40)
    images[0] = 0
    output = step(images, draws).flip(1)
    ranges = [(0.7, 1.3)] * 3 + [(-0.2, 0.2)]
    changed = 0
    for i, image in enumerate(images.flip(1)):
        expected = image.double()
        if draws[i, 0] < 0.6:
            changed += 1
            for kind, draw, limits in zip(
                NAMES, draws[i, 1:], ranges, strict=True
            ):
                expected = adjust(kind, expected, factor_of(draw, limits))
        assert (output[i] - expected).abs().max() <= 0.501
    assert 10 < changed < 35


def test_image_left_out_by_chance_keeps_its_bits():
    step = ColorJitter(0.9, 0.9, 0.9, 0.5, prob=0.0)
    images = torch.stack([colours(), *images_of(9, 32, 16)])
    assert torch.equal(step(images, draws_of(step, 10)), images)


def test_colour_changes_use_draws_of_their_own():
    for slot, kind in enumerate(NAMES, 1):
        step = ColorJitter(**{kind: 0.4})
        images, draws = images_of(), draws_of(step)
        output = step(images, draws)
        for other in range(1, 5):
            moved = draws.clone()
            moved[:, other] = 1 - moved[:, other]
            same = torch.equal(step(images, moved), output)
            assert same == (other != slot)

import cv2
import numpy as np
import pytest
import torch

from mmreid.visualization import draw_tsne, embed_tsne


def clusters(num, images, seed=0):
    """Images around one direction per person, and the persons."""
    generator = torch.Generator().manual_seed(seed)
    persons = torch.arange(num).repeat_interleave(images)
    centres = torch.randn(num, 16, generator=generator)
    noise = torch.randn(num * images, 16, generator=generator)
    return centres[persons] + 0.1 * noise, persons.numpy()


@pytest.mark.parametrize('images', [2, 40])
def test_persons_lie_together(images):
    features, persons = clusters(4, images)
    points = embed_tsne(features)
    assert points.shape == (4 * images, 2)
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (persons[distance.argmin(1)] == persons).all()


def test_metric_decides():
    features, _ = clusters(3, 4)
    # By powers of two, which round nothing.
    longer = features * 2.0 ** torch.arange(12)[:, None]
    points = embed_tsne(features)
    assert np.array_equal(embed_tsne(longer), points)
    assert not np.array_equal(embed_tsne(features, 'euclidean'), points)
    euclidean = embed_tsne(longer, 'euclidean')
    assert not np.array_equal(euclidean, embed_tsne(features, 'euclidean'))
    assert np.array_equal(embed_tsne(features), points)


def test_too_few_images():
    with pytest.raises(ValueError, match='four images or more, got 3'):
        embed_tsne(torch.eye(3))


@pytest.mark.parametrize('num', [3, 24])
def test_a_panel_for_each(tmp_path, num):
    persons = np.arange(num).repeat(2)
    points = np.random.default_rng(0).normal(size=(2 * num, 2))
    shapes = []
    for panels in (1, 3):
        # With 24 there are neither colours nor markers enough for a legend.
        out = tmp_path / 'new' / f'{panels}.png'
        draw_tsne(
            [points] * panels, 'abc'[:panels], persons, range(2 * num), out
        )
        shapes.append(cv2.imread(str(out)).shape)
    assert shapes[1][1] == 3 * shapes[0][1]


def test_colours_are_the_persons(tmp_path):
    points = np.array([[0.0, 0], [1, 1], [2, 0], [3, 1]])
    images = []
    for persons in ([5, 5, 9, 9], [5, 9, 5, 9]):
        out = str(tmp_path / 'out.png')
        draw_tsne([points], ['a'], persons, [0] * 4, out)
        images.append(cv2.imread(out))
    assert images[0].shape == images[1].shape
    assert (images[0] != images[1]).any()


def test_lengths_must_agree(tmp_path):
    points = np.zeros((4, 2))
    for arguments, message in (
        (([points], 'ab', [0] * 4, [0] * 4), 'per panel, 1, got 2'),
        (([points], 'a', [0] * 3, [0] * 4), '4 points, 3 person_ids'),
        (([points], 'a', [0] * 4, [0] * 5), 'and 5 camera_ids'),
    ):
        with pytest.raises(ValueError, match=message):
            draw_tsne(*arguments, tmp_path / 'out.png')

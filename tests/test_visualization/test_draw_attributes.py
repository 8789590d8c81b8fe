from dataclasses import replace

import cv2
import numpy as np
import pytest

from mmreid.visualization import AttributedImage, draw_attributes

GREEN, ORANGE = (0x00, 0x9E, 0x73), (0xD5, 0x5E, 0x00)
BLUE = (0x00, 0x72, 0xB2)
NAMES = ['hat', 'bag', 'boots']


@pytest.fixture
def image(tmp_path):
    path = str(tmp_path / 'image.png')
    cv2.imwrite(path, np.full((40, 20, 3), 90, np.uint8))
    return AttributedImage(path, [0.6, 0.2, 0.9])


def draw(rows, out_file, **options):
    draw_attributes(rows, NAMES, out_file, **options)
    return cv2.imread(str(out_file))[..., ::-1]


def count(picture, color):
    return (picture == color).all(-1).sum()


def test_shown_are_the_predicted_and_the_missed(image):
    assert image.shown() == [2, 0]
    assert replace(image, labels=[0, 0, 0]).shown() == [2, 0]
    assert replace(image, labels=[-1, 1, -1]).shown() == [2, 0, 1]
    assert replace(image, scores=[0.5, 0.1, 0.2]).shown() == []


def test_marks_only_where_something_is_known(image, tmp_path):
    out = tmp_path / 'new' / 'a.png'
    plain = draw([[image]], out)
    assert not count(plain, GREEN) and not count(plain, ORANGE)
    unknown = draw([[replace(image, labels=[-1, -1, -1])]], out)
    assert (unknown == plain).all()
    height = len(plain)
    right = draw([[replace(image, labels=[1, 0, 1])]], out)
    assert len(right) > height
    assert count(right[:height], GREEN) and not count(right[:height], ORANGE)
    # One said and not there, one missed.
    for labels in ([0, 0, -1], [-1, 1, -1]):
        wrong = draw([[replace(image, labels=labels)]], out)[:height]
        assert count(wrong, ORANGE) and not count(wrong, GREEN)


def test_bars_are_as_long_as_the_probabilities(image, tmp_path):
    bars = []
    for score in (0.55, 0.75, 1.0):
        one = replace(image, scores=[score, 0, 0])
        bars.append(count(draw([[one]], tmp_path / 'a.png'), BLUE))
    # 40 pixels, 8 high.
    assert bars == [22 * 8, 30 * 8, 40 * 8]


def test_a_persons_images_stand_side_by_side(image, tmp_path):
    one = draw([[image]], tmp_path / 'a.png').shape
    two = draw([[image, image]], tmp_path / 'a.png').shape
    four = draw([[image]] * 4, tmp_path / 'a.png', columns=2).shape
    assert two[0] == one[0] and two[1] > 1.5 * one[1]
    assert four[0] > 1.5 * one[0] and four[1] > 1.5 * one[1]


def test_what_does_not_fit(image, tmp_path):
    with pytest.raises(ValueError, match='no image to draw'):
        draw([[]], tmp_path / 'a.png')
    with pytest.raises(ValueError, match='each of the 2 attributes, got 3'):
        draw([[replace(image, scores=[0.1, 0.2])]], tmp_path / 'a.png')

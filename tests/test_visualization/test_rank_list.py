import cv2
import numpy as np
import pytest
import torch

from mmreid.visualization import draw_rank_list

GREEN, ORANGE = (0x00, 0x9E, 0x73), (0xD5, 0x5E, 0x00)


@pytest.fixture
def images(tmp_path):
    paths = []
    for index in range(4):
        # Grey, so that any other colour found was drawn by the function.
        image = np.full((40 + index, 20, 3), 60 * index, np.uint8)
        paths.append(str(tmp_path / f'{index}.png'))
        cv2.imwrite(paths[-1], image)
    return paths


def draw(images, neighbours, out_file, **kwargs):
    draw_rank_list(
        images[:1],
        images[1:],
        torch.tensor(neighbours),
        [7],
        [7, 8, 8],
        out_file,
        query_cams=[0],
        gallery_cams=[1, 1, 2],
        image_size=(32, 64),
        **kwargs,
    )
    return cv2.imread(str(out_file))[..., ::-1]


def frames(picture, color):
    """Left edges of the frames of a colour, from their top border."""
    same = (picture == color).all(-1)
    row = same.sum(1).argmax()
    columns = np.flatnonzero(same[row])
    return columns[np.flatnonzero(np.diff(columns, prepend=-9) > 1)]


def test_right_and_wrong_are_framed_in_their_order(images, tmp_path):
    picture = draw(images, [[1, 0, 2]], tmp_path / 'new' / 'a.png')
    wrong, right = frames(picture, ORANGE), frames(picture, GREEN)
    assert len(wrong) == 2 and len(right) == 1
    assert wrong[0] < right[0] < wrong[1]


def test_the_images_shown_are_those_of_the_indices(images, tmp_path):
    picture = draw(images, [[2, 0]], tmp_path / 'a.png')
    first, second = frames(picture, ORANGE)[0], frames(picture, GREEN)[0]
    row = (picture == ORANGE).all(-1).sum(1).argmax() + 50
    assert (picture[row, first + 20] == 180).all()
    assert (picture[row, second + 20] == 60).all()


def test_missing_neighbours_stay_empty(images, tmp_path):
    picture = draw(images, [[0, -1, -1]], tmp_path / 'a.png')
    full = draw(images, [[0, 1, 2]], tmp_path / 'b.png')
    assert picture.shape == full.shape
    assert len(frames(picture, GREEN)) == 1
    row = (picture == GREEN).all(-1).sum(1).argmax()
    assert not (picture[row] == ORANGE).all(-1).any()


def test_title_and_rows_make_the_picture_taller(images, tmp_path):
    plain = draw(images, [[0]], tmp_path / 'a.png')
    titled = draw(images, [[0]], tmp_path / 'b.png', title='worst')
    assert titled.shape[0] > plain.shape[0]
    assert titled.shape[1] == plain.shape[1]


@pytest.mark.parametrize('content', [None, b'', b'not an image'])
def test_unreadable_image_is_named(images, tmp_path, content):
    broken = tmp_path / 'broken.jpg'
    if content is not None:
        broken.write_bytes(content)
    with pytest.raises(ValueError, match=r'broken\.jpg cannot be read'):
        draw([*images[:3], str(broken)], [[2]], tmp_path / 'a.png')


@pytest.mark.parametrize(
    ('neighbours', 'message'),
    [
        ([[0], [1]], 'one row per query'),
        ([0, 1], 'one row per query'),
        ([[0, 3]], 'index 3, but there are only 3'),
    ],
)
def test_bad_neighbours(images, tmp_path, neighbours, message):
    with pytest.raises(ValueError, match=message):
        draw(images, neighbours, tmp_path / 'a.png')


def test_bad_lengths(images, tmp_path):
    with pytest.raises(ValueError, match='gallery_ids .* 3, got 2'):
        draw_rank_list(
            images[:1],
            images[1:],
            [[0]],
            [7],
            [7, 8],
            tmp_path / 'a.png',
        )

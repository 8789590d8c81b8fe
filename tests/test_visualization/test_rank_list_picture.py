from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from sides import labelled

from mmreid.datasets import UnreadableImageError
from mmreid.visualization import draw_rank_list

GREEN, ORANGE = (0x00, 0x9E, 0x73), (0xD5, 0x5E, 0x00)
GREY = (0x44, 0x44, 0x44)


@pytest.fixture
def images(tmp_path):
    paths = []
    for index in range(4):
        # Grey, so that any other colour found was drawn by the function.
        image = np.full((40 + index, 20, 3), 60 * index, np.uint8)
        paths.append(str(tmp_path / f'{index}.png'))
        cv2.imwrite(paths[-1], image)
    return paths


def make_sets(images):
    query, gallery = labelled([7], [7, 8, 8], [0], [1, 1, 2])
    return (
        replace(query, paths=images[:1]),
        replace(gallery, paths=images[1:]),
    )


def draw(images, neighbours, out_file, **kwargs):
    query, gallery = make_sets(images)
    draw_rank_list(
        query,
        gallery,
        torch.tensor(neighbours),
        out_file,
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
    with pytest.raises(UnreadableImageError, match=r"broken\.jpg' cannot"):
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


@pytest.mark.parametrize('side', [0, 1, 'one'])
def test_nothing_is_judged_where_persons_are_unknown(images, tmp_path, side):
    sets = list(make_sets(images))
    options = dict(image_size=(32, 64))
    draw_rank_list(*sets, [[0, 2]], tmp_path / 'known.png', **options)
    known = cv2.imread(str(tmp_path / 'known.png'))
    if side == 'one':
        # Or invented: then every neighbour would get a tick.
        sets = [
            replace(s, person_id=torch.full_like(s.person_id, 7)) for s in sets
        ]
    else:
        sets[side] = replace(sets[side], person_id=None)
    draw_rank_list(*sets, [[0, 2]], tmp_path / 'a.png', **options)
    picture = cv2.imread(str(tmp_path / 'a.png'))[..., ::-1]
    assert len(frames(picture, GREY)) == 3
    # Images, frames and text are grey: neither frames nor marks are coloured.
    assert (picture == picture[..., :1]).all()
    # And no legend explains them.
    assert len(picture) < len(known)


@pytest.mark.parametrize(('side', 'name'), [(0, 'query'), (1, 'gallery')])
def test_images_without_files_are_named(images, tmp_path, side, name):
    sets = list(make_sets(images))
    sets[side] = replace(sets[side], paths=None)
    with pytest.raises(ValueError, match=f'give the {name} set its paths'):
        draw_rank_list(*sets, [[0]], tmp_path / 'a.png')


def test_cameras_are_named_where_they_are_known(images, tmp_path):
    query, gallery = make_sets(images)
    pictures = []
    for cams in (gallery.camera_id, None, gallery.camera_id):
        gallery = replace(gallery, camera_id=cams)
        draw_rank_list(query, gallery, [[0]], tmp_path / 'a.png')
        pictures.append(cv2.imread(str(tmp_path / 'a.png')))
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[0] == pictures[2]).all()

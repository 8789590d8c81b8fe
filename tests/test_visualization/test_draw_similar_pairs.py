from dataclasses import replace

import cv2
import numpy as np
import pytest

from mmreid.datasets import UnreadableImageError
from mmreid.visualization import SimilarPair, draw_similar_pairs

GREEN, ORANGE = (0x00, 0x9E, 0x73), (0xD5, 0x5E, 0x00)
SIZE = (32, 64)


@pytest.fixture
def pair(tmp_path):
    paths = []
    for index in range(6):
        # Grey, so that any colour found was drawn by the function.
        paths.append(str(tmp_path / f'{index}.png'))
        cv2.imwrite(paths[-1], np.full((40, 20, 3), 40 * index, np.uint8))
    return SimilarPair(
        paths[:2],
        [[(paths[2], 0.5), (paths[3], 0.25)], [(paths[4], 1), (paths[5], 0)]],
        similarity=0.9,
        agreement=0.125,
        cameras=[0, 1],
    )


def draw(pairs, out_file, **options):
    draw_similar_pairs(pairs, out_file, image_size=SIZE, **options)
    return cv2.imread(str(out_file))[..., ::-1]


def has(picture, color):
    return (picture == color).all(-1).any()


def test_frames_say_whether_it_was_mined_rightly(pair, tmp_path):
    out = tmp_path / 'new' / 'a.png'
    picture = draw([pair], out)
    assert (picture == picture[..., :1]).all()
    height = len(picture)
    right = draw([replace(pair, same_person=False)], out)
    # The legend shows both marks, below what is drawn without it.
    assert len(right) > height
    assert has(right[:height], GREEN) and not has(right[:height], ORANGE)
    wrong = draw([replace(pair, same_person=True)], out)
    assert has(wrong[:height], ORANGE) and not has(wrong[:height], GREEN)


def test_each_image_has_its_references_beside_it(pair, tmp_path):
    picture = draw([pair], tmp_path / 'a.png')[..., 0]
    # Middles of the rows of the two images, below the 9 of a mark.
    rows = [
        row
        for row in range(len(picture))
        if (picture[row] == 40).sum() >= 32
        or ((picture[row] == 0).sum() >= 32 and (picture[row] == 80).any())
    ]
    first, second = rows[len(rows) // 4], rows[3 * len(rows) // 4]
    for row, greys in ((first, (0, 80, 120)), (second, (40, 160, 200))):
        places = []
        for grey in greys:
            found = np.flatnonzero(picture[row] == grey)
            assert len(found) == 32, (row, grey)
            places.append(found[0])
        assert places == sorted(places)


def test_columns_and_rows(pair, tmp_path):
    one = draw([pair], tmp_path / 'a.png').shape
    wide = draw([pair] * 3, tmp_path / 'a.png').shape
    high = draw([pair] * 3, tmp_path / 'a.png', columns=1).shape
    titled = draw([pair], tmp_path / 'a.png', title='worst').shape
    assert wide[0] == one[0] and wide[1] > 2 * one[1]
    assert high[1] == one[1] and high[0] > 2 * one[0]
    assert titled[0] > one[0]


def test_what_cannot_be_drawn(pair, tmp_path):
    with pytest.raises(ValueError, match='no pair to draw'):
        draw([], tmp_path / 'a.png')
    broken = replace(pair, paths=[pair.paths[0], str(tmp_path / 'no.png')])
    with pytest.raises(UnreadableImageError, match=r'no\.png'):
        draw([broken], tmp_path / 'a.png')

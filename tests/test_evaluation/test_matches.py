import numpy as np
import pytest
import torch
from sides import labelled

from mmreid.evaluation.functional.matches import CAMERA_RULES, Matches


class Shape:
    """What of a distance its matches need."""

    def __init__(self, *shape):
        self.shape = shape
        self.device = torch.device('cpu')


@pytest.mark.parametrize('rule', CAMERA_RULES)
def test_every_pair_is_looked_at_alike(rule):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 4, 9), rng.integers(0, 4, 25)
    cams = rng.integers(0, 3, 9), rng.integers(0, 3, 25)
    who = Matches(Shape(9, 25), *labelled(*ids, *cams), rule)
    for rows in (slice(0, 4), slice(4, 9)):
        found = {}
        for query, number, image, ignored in zip(
            *(part.tolist() for part in who.same_person(rows)), strict=True
        ):
            found.setdefault(query, []).append((number, image, ignored))
        scores = torch.zeros(rows.stop - rows.start, 25)
        who.hide(scores, rows)
        for query in range(rows.stop - rows.start):
            person, cam = ids[0][rows][query], cams[0][rows][query]
            pairs = found.get(query, [])
            assert [number for number, _, _ in pairs] == [*range(len(pairs))]
            assert {image: ignored for _, image, ignored in pairs} == {
                image: rule != 'none' and cams[1][image] == cam
                for image in range(25)
                if ids[1][image] == person
            }
            if rule == 'cross':
                hidden = scores[query].isinf().tolist()
                assert hidden == (cams[1] == cam).tolist()
            else:
                assert not scores[query].any()

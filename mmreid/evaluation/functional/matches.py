"""Who shows whom, and what is ignored.

A gallery image of the query's person is a true match, unless it is ignored.
What is ignored, the camera rule says:

* ``'standard'``: images of the query's person *and* camera;
* ``'none'``: nothing, for data without cameras;
* ``'cross'``: all images of the query's camera, of other people too.
"""

import torch
from torch import Tensor

from mmreid.errors import InputError
from mmreid.structures import FeatureSet

from .distance import Distance

__all__ = ['CAMERA_RULES', 'Matches']

CAMERA_RULES = ('standard', 'none', 'cross')


class Matches:
    """The true matches of every query, and the images that it ignores.

    Args:
        distance (Distance): Says on which device to work, and of how
            many images it is.
        query (FeatureSet): Q images. Of both sets only the labels are used.
        gallery (FeatureSet): G images.
        camera_rule (str): ``'standard'``, ``'none'`` or ``'cross'``.

    Raises:
        InputError: If the rule does not exist, the distance is one of other
            sets, or persons are unknown, or cameras that the rule needs.
    """

    def __init__(
        self,
        distance: Distance,
        query: FeatureSet,
        gallery: FeatureSet,
        camera_rule: str,
    ) -> None:
        if camera_rule not in CAMERA_RULES:
            raise InputError(
                f'camera_rule must be one of {CAMERA_RULES}, got '
                f'{camera_rule!r}.'
            )
        if tuple(distance.shape) != (len(query), len(gallery)):
            raise InputError(
                f'The distance is one of {distance.shape[0]} query and '
                f'{distance.shape[1]} gallery images, but the sets hold '
                f'{len(query)} and {len(gallery)}.'
            )

        def prepare(labels: Tensor) -> Tensor:
            return labels.to(distance.device).long().contiguous()

        query_ids = prepare(query.known_person_id())
        gallery_ids = prepare(gallery.known_person_id())
        self.camera_rule = camera_rule
        if camera_rule != 'none':
            if query.camera_id is None or gallery.camera_id is None:
                raise InputError(
                    f"camera_rule '{camera_rule}' needs query_cams and "
                    'gallery_cams, the camera_id of both sets: pass them, or '
                    "camera_rule='none'."
                )
            self.query_cams = prepare(query.camera_id)
            self.gallery_cams = prepare(gallery.camera_id)
        # The gallery images of one person, as a range of this order.
        self.order = gallery_ids.argsort(stable=True)
        gallery_ids = gallery_ids[self.order]
        self.begin = torch.searchsorted(gallery_ids, query_ids)
        self.end = torch.searchsorted(gallery_ids, query_ids, right=True)

    def same_person(self, rows: slice) -> tuple[Tensor, ...]:
        """Every pair of one person, as four vectors: the query within the
        block, the running number within that query, the gallery image, and
        whether it is ignored."""
        count = self.end[rows] - self.begin[rows]
        query = torch.repeat_interleave(count)
        number = torch.arange(len(query), device=query.device)
        number -= (count.cumsum(0) - count)[query]
        image = self.order[self.begin[rows][query] + number]
        if self.camera_rule == 'none':
            ignored = torch.zeros_like(image, dtype=torch.bool)
        else:
            ignored = self.gallery_cams[image] == self.query_cams[rows][query]
        return query, number, image, ignored

    def hide(self, scores: Tensor, rows: slice) -> None:
        """Move what every query of the block ignores to the end.

        Of the query's own person, that is left to :meth:`same_person`.
        """
        if self.camera_rule == 'cross':
            same = self.gallery_cams == self.query_cams[rows, None]
            scores.masked_fill_(same, torch.inf)

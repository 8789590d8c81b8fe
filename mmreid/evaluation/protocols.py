"""Evaluation protocols: who is compared with whom.

A protocol has a ``name``, a ``camera_rule`` (see
:func:`mmreid.evaluation.rank`) and :meth:`SingleQuery.trials`, the pairs of
query set and gallery whose scores are averaged. Random splits of VIPeR,
PRID-2011 and CUHK01 are a matter of the data set: see ``tools/run_splits.py``.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch

from mmreid.structures import FeatureSet

from .functional import normalise

__all__ = ['PROTOCOLS', 'MultiQuery', 'SingleGalleryShot', 'SingleQuery']


class SingleQuery:
    """Every query on its own against the whole gallery.

    Of Market-1501, DukeMTMC-reID and MSMT17, of CUHK03 in its new protocol,
    and of each random split of VIPeR, PRID-2011 and CUHK01.

    Args:
        name (str): What the protocol is called. Defaults to 'single-query'.
        camera_rule (str): See :func:`mmreid.evaluation.rank`. Defaults to
            'standard'.
    """

    def __init__(
        self, name: str = 'single-query', camera_rule: str = 'standard'
    ) -> None:
        self.name = name
        self.camera_rule = camera_rule

    def trials(
        self, query: FeatureSet, gallery: FeatureSet, metric: str
    ) -> Iterator[tuple[FeatureSet, FeatureSet]]:
        """The pairs to score.

        Args:
            query (FeatureSet): Query images.
            gallery (FeatureSet): Gallery images.
            metric (str): ``'cosine'`` or ``'euclidean'``.

        Yields:
            tuple[FeatureSet, FeatureSet]: Query set and gallery.
        """
        yield query, gallery


class MultiQuery(SingleQuery):
    """One query per person and camera: the mean of its images' features.

    Market-1501's second protocol, for which it has the boxes of ``gt_bbox``
    (``Market1501(multi_query=True)``). For the cosine, the mean is that of
    the unit vectors.
    """

    def __init__(self) -> None:
        super().__init__('multi-query')

    def trials(
        self, query: FeatureSet, gallery: FeatureSet, metric: str
    ) -> Iterator[tuple[FeatureSet, FeatureSet]]:
        first, place = query.places()
        features = query.features
        if metric == 'cosine':
            features = normalise(features)
        pooled = features.new_zeros(len(first), features.shape[1])
        pooled.index_add_(0, place, features)
        pooled /= place.bincount()[:, None]
        yield replace(query.take(first), features=pooled), gallery


class SingleGalleryShot(SingleQuery):
    """One gallery image per person and camera, drawn at random, many times.

    CUHK03's first protocol: the scores are means over the draws.

    Args:
        repeats (int): Draws. Defaults to 100.
        seed (int): Seed of the draws. Defaults to 0.
    """

    def __init__(self, repeats: int = 100, seed: int = 0) -> None:
        super().__init__('single-gallery-shot')
        self.repeats = repeats
        self.seed = seed

    def trials(
        self, query: FeatureSet, gallery: FeatureSet, metric: str
    ) -> Iterator[tuple[FeatureSet, FeatureSet]]:
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.repeats):
            # The first of each place in a random order is a random one.
            order = torch.randperm(len(gallery), generator=generator)
            shuffled = gallery.take(order)
            yield query, shuffled.take(shuffled.places()[0])


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        SingleQuery(),
        MultiQuery(),
        SingleGalleryShot(),
        # Data without camera labels: nothing is ignored.
        SingleQuery('no-cameras', camera_rule='none'),
        # All of the query's camera is ignored, other people's images too.
        SingleQuery('cross-camera', camera_rule='cross'),
    )
}
"""The protocols by name."""

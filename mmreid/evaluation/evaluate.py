import argparse
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dist import all_reduce, get_dist_info

from mmreid.errors import InputError
from mmreid.structures import FeatureSet, RetrievalResult
from mmreid.structures.feature_set import count_persons

from .functional import (
    AP_FORMULAS,
    METRICS,
    TIES,
    Distance,
    FeatureDistance,
    KReciprocalDistance,
    camera_means,
    check_metric,
    check_options,
    expand_queries,
    rank,
    subtract_camera_means,
    unit_vectors,
)
from .protocols import PROTOCOLS, SingleQuery

__all__ = [
    'Evaluation',
    'add_evaluation_arguments',
    'evaluation_options',
    'format_table',
    'get_protocol',
]

CAMERA_MEANS = ('train', 'gallery')


def add_evaluation_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of :class:`Evaluation`, None where they are not given."""
    group = parser.add_argument_group('evaluation')
    group.add_argument('--metric', choices=METRICS)
    group.add_argument(
        '--ap',
        choices=AP_FORMULAS,
        help='formula of the average precision: that of most toolboxes, the '
        "Market-1501 script's, or that of MAR's published code",
    )
    group.add_argument('--topk', type=int, nargs='+', help='k of rank-k')
    group.add_argument('--protocol', choices=[*PROTOCOLS])
    group.add_argument(
        '--ties',
        choices=TIES,
        help='whether other people at the distance of a true match rank '
        'ahead of it',
    )
    group.add_argument(
        '--expand',
        type=int,
        metavar='K',
        help='average query expansion by K neighbours',
    )
    group.add_argument(
        '--rerank',
        action='store_const',
        const={},
        help='k-reciprocal re-ranking',
    )
    group.add_argument(
        '--camera-mean',
        nargs='?',
        choices=CAMERA_MEANS,
        const='train',
        help="subtract from each feature the mean of its camera's training "
        "images, which are read without labels ('train', the default), or of "
        "the gallery's own images",
    )


def evaluation_options(args: argparse.Namespace) -> dict:
    """Those options that were given."""
    names = (
        *('metric', 'ap', 'topk', 'protocol', 'ties', 'expand', 'rerank'),
        'camera_mean',
    )
    options = {name: getattr(args, name) for name in names}
    return {k: v for k, v in options.items() if v is not None}


def format_table(metrics: dict[str, float]) -> str:
    """Two lines, names and values, of scores in percent."""
    names = [name for name in metrics if name != 'skipped_queries']
    return (
        ''.join(f'{name:>9}' for name in names)
        + '\n'
        + ''.join(f'{metrics[name]:9.2f}' for name in names)
    )


def get_protocol(protocol: str | SingleQuery) -> SingleQuery:
    """A protocol by its name.

    Raises:
        InputError: If there is none of that name.
    """
    if isinstance(protocol, SingleQuery):
        return protocol
    if protocol not in PROTOCOLS:
        raise InputError(
            f'protocol must be one of {[*PROTOCOLS]}, got {protocol!r}.'
        )
    return PROTOCOLS[protocol]


class Trial(NamedTuple):
    """One comparison of a protocol.

    Attributes:
        query (FeatureSet): What was asked.
        gallery (FeatureSet): What was ranked.
        distance (Distance): By what.
        result (RetrievalResult): How well.
    """

    query: FeatureSet
    gallery: FeatureSet
    distance: Distance
    result: RetrievalResult


class Evaluation:
    """How a query set is scored against a gallery: every option in one place.

    Args:
        metric (str): ``'cosine'`` or ``'euclidean'``. Defaults to 'cosine'.
        ap (str): Formula of the average precision: ``'standard'``,
            ``'trapezoid'`` (the Market-1501 script) or ``'mar'`` (the
            published MAR code). Defaults to 'standard'.
        topk (Sequence[int]): The k of ``rank-k``. Defaults to
            (1, 5, 10, 20).
        protocol (str | SingleQuery): A name of
            :data:`mmreid.evaluation.PROTOCOLS`, or a protocol. Defaults to
            'single-query'.
        ties (str): ``'pessimistic'`` or ``'optimistic'``. Defaults to
            'pessimistic'.
        expand (int): Average query expansion by as many neighbours.
            Defaults to 0, none.
        rerank (dict, optional): Options of :class:`KReciprocalDistance`,
            ``dict()`` for its defaults. Defaults to None, no re-ranking.
        camera_mean (str, optional): Subtract from each feature the mean of
            its camera, before anything else. For the cosine, features and
            means are those of unit vectors. The means are of training
            images, ``'train'``, or of the gallery's own images,
            ``'gallery'``: the score is then transductive, since a query's
            rank depends on all of the gallery. Defaults to None: features
            stay as they are.

    Raises:
        InputError: If an option does not exist.
    """

    def __init__(
        self,
        metric: str = 'cosine',
        ap: str = 'standard',
        topk: Sequence[int] = (1, 5, 10, 20),
        protocol: str | SingleQuery = 'single-query',
        ties: str = 'pessimistic',
        expand: int = 0,
        rerank: dict | None = None,
        camera_mean: str | None = None,
    ) -> None:
        check_metric(metric)
        check_options(ap, topk, ties=ties)
        if expand != int(expand) or expand < 0:
            raise InputError(
                f'expand must be a number of neighbours, got {expand!r}.'
            )
        known = {*inspect.signature(KReciprocalDistance).parameters}
        known -= {'query', 'gallery', 'metric'}
        unknown = {*(rerank or {})} - known
        if unknown:
            raise InputError(
                f'rerank has {min(unknown)!r}, but takes '
                f'{", ".join(sorted(known))}.'
            )
        if camera_mean not in (None, *CAMERA_MEANS):
            raise InputError(
                f'camera_mean must be one of {CAMERA_MEANS}, or None, got '
                f'{camera_mean!r}.'
            )
        self.metric = metric
        self.ap = ap
        self.topk = tuple(topk)
        self.protocol = get_protocol(protocol)
        self.ties = ties
        self.expand = expand
        self.rerank = rerank
        self.camera_mean = camera_mean

    def title(
        self, gallery: FeatureSet, training: FeatureSet | None = None
    ) -> str:
        """What a table of the scores has to say of how they were made.

        Args:
            gallery (FeatureSet): Gallery images.
            training (FeatureSet, optional): Training images, of
                ``camera_mean='train'``. Defaults to None.

        Raises:
            InputError: If the training images are missing.
        """
        parts = [
            f'protocol {self.protocol.name}',
            f'{self.metric} distance',
            f'AP "{self.ap}"',
        ]
        if self.camera_mean == 'train':
            num = len(self._needed_training(training))
            parts.append(f'camera means of {num} training images subtracted')
        if self.camera_mean == 'gallery':
            parts.append(
                f'camera means of the {len(gallery)} gallery images '
                'subtracted (transductive)'
            )
        if self.expand:
            parts.append(f'queries expanded by {self.expand}')
        if self.rerank is not None:
            parts.append('re-ranked')
        return ', '.join(parts)

    def distance(self, query: FeatureSet, gallery: FeatureSet) -> Distance:
        """The distance by which the gallery is ranked."""
        if self.expand:
            query = expand_queries(query, gallery, self.expand, self.metric)
        if self.rerank is None:
            return FeatureDistance(query, gallery, self.metric)
        return KReciprocalDistance(
            query, gallery, metric=self.metric, **self.rerank
        )

    def trials(
        self,
        query: FeatureSet,
        gallery: FeatureSet,
        num_neighbours: int = 0,
        shard: tuple[int, int] = (0, 1),
        training: FeatureSet | None = None,
    ) -> Iterator['Trial']:
        """Rank the gallery for every query, in each trial of the protocol.

        Args:
            query (FeatureSet): Query images.
            gallery (FeatureSet): Gallery images.
            num_neighbours (int): Neighbours of each query to keep. Defaults
                to 0.
            shard (tuple[int, int]): ``(rank, world_size)``. Defaults to
                (0, 1).
            training (FeatureSet, optional): The images whose camera means
                are subtracted with ``camera_mean='train'``; their persons
                are not read. Defaults to None.

        Yields:
            Trial: What was compared, and the result. See :func:`rank`, which
            also says what is raised.

        Raises:
            InputError: If all images are of one person, so that every match
                would be right; or if there are no camera means to subtract
                (:func:`subtract_camera_means`).
        """
        _check_persons(query, gallery)
        query, gallery = self.without_camera_means(query, gallery, training)
        for sides in self.protocol.trials(query, gallery, self.metric):
            distance = self.distance(*sides)
            result = rank(
                distance,
                *sides,
                ap=self.ap,
                camera_rule=self.protocol.camera_rule,
                ties=self.ties,
                num_neighbours=num_neighbours,
                shard=shard,
            )
            yield Trial(*sides, distance, result)

    def without_camera_means(
        self,
        query: FeatureSet,
        gallery: FeatureSet,
        training: FeatureSet | None = None,
    ) -> tuple[FeatureSet, FeatureSet]:
        """Both sides with the means that ``camera_mean`` says subtracted.

        Args:
            query (FeatureSet): Query images.
            gallery (FeatureSet): Gallery images.
            training (FeatureSet, optional): Training images. Defaults to
                None.

        Raises:
            InputError: If the training images are missing, or see
                :func:`subtract_camera_means`.
        """
        if self.camera_mean is None:
            return query, gallery
        images = gallery
        if self.camera_mean == 'train':
            images = self._needed_training(training)
        if self.metric == 'cosine':
            query, gallery = _unit('query', query), _unit('gallery', gallery)
            images = _unit(self.camera_mean, images)
        means = camera_means(images)
        return (
            subtract_camera_means(query, means),
            subtract_camera_means(gallery, means),
        )

    @staticmethod
    def _needed_training(training: FeatureSet | None) -> FeatureSet:
        if training is None:
            raise InputError(
                "camera_mean='train' needs the features of training images, "
                "and got none: give them, or take camera_mean='gallery'."
            )
        return training

    @torch.no_grad()
    def __call__(
        self,
        query: FeatureSet,
        gallery: FeatureSet,
        training: FeatureSet | None = None,
    ) -> dict[str, float]:
        """Score, sharing the queries between the ranks of a distributed run.

        Args:
            query (FeatureSet): Query images, the same on every rank.
            gallery (FeatureSet): Gallery images, the same on every rank.
            training (FeatureSet, optional): Training images, the same on
                every rank, see :meth:`trials`. Defaults to None.

        Returns:
            dict[str, float]: ``rank-k``, ``mAP`` and ``mINP`` in percent and
            ``skipped_queries``, means over the trials of the protocol; on
            every rank, and to the last digit whatever the number of ranks.
        """
        results = []
        for trial in self.trials(
            query, gallery, shard=get_dist_info(), training=training
        ):
            result = trial.result
            # Each query is non-zero on one rank only: adding is exact, and
            # the means are then taken in the order of a single process.
            for column in (result.ap, result.inp, result.first_rank):
                all_reduce(column)
            result.valid = result.first_rank > 0
            results.append(result)
        return self.mean(results)

    def mean(self, results: Sequence[RetrievalResult]) -> dict[str, float]:
        """The scores of trials, averaged: what :meth:`__call__` returns."""
        scores = [result.summary(self.topk) for result in results]
        return {
            name: float(np.mean([score[name] for score in scores]))
            for name in scores[0]
        }


def _unit(side: str, images: FeatureSet) -> FeatureSet:
    features = unit_vectors(f'{side} features', images.features)
    return replace(images, features=features)


def _check_persons(query: FeatureSet, gallery: FeatureSet) -> None:
    person_ids = [query.known_person_id(), gallery.known_person_id()]
    if count_persons(query, gallery) == 1:
        raise InputError(
            f'All images have the person id {person_ids[0][0]}, so every '
            'match would be right and the score 100: score images whose '
            'persons are known, or look at unlabelled ones by '
            'ReIDInferencer.draw.'
        )

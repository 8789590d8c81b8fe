import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from torch import Tensor

from mmreid.datasets import ImageList, list_images
from mmreid.engine.extraction import extract
from mmreid.errors import InputError
from mmreid.evaluation import FeatureDistance
from mmreid.models import BaseReID
from mmreid.registry import INFERENCERS
from mmreid.structures import FeatureSet
from mmreid.utils import image_pipeline, ranking_metric, read_config
from mmreid.visualization import draw_rank_list

from .init_model import init_model

Images = str | os.PathLike | np.ndarray | Sequence | FeatureSet
"""A file, a folder, an array (H, W, 3), several of them, or features."""


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The nearest gallery images of each query.

    Attributes:
        query (FeatureSet): The queries.
        gallery (FeatureSet): What was searched.
        neighbours (Tensor): Gallery images, nearest first. (Q, k), int64.
        distances (Tensor): Their distances. (Q, k).
    """

    query: FeatureSet
    gallery: FeatureSet
    neighbours: Tensor
    distances: Tensor

    def paths(self) -> list[list[str]]:
        """Files of the neighbours, nearest first, a list per query.

        Raises:
            InputError: If the gallery's files are unknown.
        """
        paths = self.gallery.known_paths()
        return [[paths[i] for i in row] for row in self.neighbours.tolist()]


@INFERENCERS.register_module()
class ReIDInferencer(BaseInferencer):
    """Find people with a trained model: features, comparison, search.

    Args:
        model (str | Config): A config, or its path, as
            :func:`mmreid.utils.read_config` takes it.
        weights (str, optional): A checkpoint that belongs to it. Defaults to
            None: the weights that the config starts from.
        device (str, optional): Defaults to None, a GPU if there is one.
        batch_size (int): Images per forward. Defaults to 128.
        num_workers (int): Worker processes that load files. Defaults to 0.

    Raises:
        FileNotFoundError: If config or checkpoint do not exist.
        InputError: If the checkpoint is of another model, or the config has
            no pipeline.

    Examples:
        >>> from mmreid.apis import ReIDInferencer
        >>> reid = ReIDInferencer('config.py', 'stage_main.pth')
        Loads checkpoint by local backend from path: stage_main.pth
        >>> gallery = reid('crops/')
        >>> found = reid.search('person.jpg', gallery, k=5)
        >>> len(found.paths()[0])
        5
        >>> reid.draw(found, 'found.png')
    """

    def __init__(
        self,
        model: str | Config,
        weights: str | None = None,
        device: str | None = None,
        batch_size: int = 128,
        num_workers: int = 0,
    ) -> None:
        if isinstance(model, str | os.PathLike):
            model = read_config(os.fspath(model))
        self.batch_size = batch_size
        self.num_workers = num_workers
        super().__init__(model, weights, device, scope='mmreid')
        self.metric = ranking_metric(self.cfg)

    def _init_model(
        self, cfg: Config, weights: str | None, device: str
    ) -> BaseReID:
        return init_model(cfg, weights, device)

    def _init_pipeline(self, cfg: Config) -> list[dict]:
        return image_pipeline(cfg)

    def _init_collate(self, cfg: Config) -> None:
        """Not needed: :func:`extract` collates."""

    def _init_visualizer(self, cfg: Config) -> None:
        """Not needed: :meth:`draw` draws."""

    def __call__(self, inputs: Images) -> FeatureSet:
        """Extract the features of images.

        Args:
            inputs (Images): An image file, a folder (searched at any depth),
                a uint8 array (H, W, 3) in BGR order, or a list of these.
                What is a :class:`FeatureSet` already is given back.

        Returns:
            FeatureSet: ``features`` (N, D) float32 and ``paths`` ('' for an
            array); without identities and cameras.

        Raises:
            FileNotFoundError: If a file or folder is missing, or a folder
                holds no image.
            UnreadableImageError: If a file is no image, or cut off.
        """
        if isinstance(inputs, FeatureSet):
            return inputs
        if isinstance(inputs, str | os.PathLike | np.ndarray):
            inputs = [inputs]
        images: list[str | np.ndarray] = []
        for item in inputs:
            if isinstance(item, np.ndarray):
                images.append(item)
            else:
                images += list_images([item])
        return extract(
            self.model,
            ImageList(images, self.pipeline),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            mode='predict',  # as a test, with flip_test
        )

    def compare(self, first: Images, second: Images) -> Tensor:
        """Distances between images, by the metric that the config tests.

        Args:
            first (Images): N images, see :meth:`__call__`.
            second (Images): M images.

        Returns:
            Tensor: (N, M); of cosine distances, 0 is the same direction and
            2 the opposite one.
        """
        return self._distances(self(first), self(second))

    def search(
        self, query: Images, gallery: Images, k: int = 10
    ) -> SearchResult:
        """Find the nearest gallery images of each query.

        Args:
            query (Images): Images to look for, see :meth:`__call__`.
            gallery (Images): Images to look in. Give the features of an
                earlier call to extract them once.
            k (int): How many; at most as many as the gallery has. Defaults
                to 10.

        Returns:
            SearchResult: The neighbours, nearest first.

        Raises:
            InputError: If k is less than 1.
        """
        if k < 1:
            raise InputError(f'k must be 1 or more, got {k}.')
        query, gallery = self(query), self(gallery)
        nearest = []
        for start in range(0, len(query), 256):
            rows = torch.arange(start, min(start + 256, len(query)))
            distances = self._distances(query.take(rows), gallery)
            nearest.append(distances.topk(min(k, len(gallery)), largest=False))
        return SearchResult(
            query,
            gallery,
            torch.cat([part.indices for part in nearest]),
            torch.cat([part.values for part in nearest]),
        )

    def _distances(self, first: FeatureSet, second: FeatureSet) -> Tensor:
        distance = FeatureDistance(first, second, self.metric)
        rows = slice(0, len(first))
        return distance.to_distances(distance.block(rows), rows)

    def draw(
        self, result: SearchResult, out_file: str, title: str | None = None
    ) -> None:
        """Draw the queries, each with its neighbours, to a picture.

        Args:
            result (SearchResult): Of :meth:`search`, on image files.
            out_file (str): The picture, for instance a .png.
            title (str, optional): Headline. Defaults to None.
        """
        draw_rank_list(
            result.query,
            result.gallery,
            result.neighbours,
            out_file,
            title=title,
        )

    def visualize(self, *args: Any, **kwargs: Any) -> None:
        """Not used: see :meth:`draw`."""

    def postprocess(self, *args: Any, **kwargs: Any) -> None:
        """Not used: :meth:`__call__` gives the features."""

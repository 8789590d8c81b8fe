import sklearn.cluster
import torch
import torch.nn.functional as F
from torch import Tensor

from mmreid.errors import InputError
from mmreid.registry import MODELS
from mmreid.structures import FeatureSet


@MODELS.register_module()
class KMeans:
    """k-means of unit vectors, by scikit-learn.

    It has no outliers, and knows the number of clusters beforehand.

    Args:
        num_clusters (int): Clusters.
        seed (int): Of the first centres. Defaults to 0.

    Raises:
        InputError: If ``num_clusters`` is no whole number.
    """

    def __init__(self, num_clusters: int, seed: int = 0) -> None:
        if not isinstance(num_clusters, int):
            raise InputError(
                'num_clusters of KMeans must be a whole number, but is '
                f'{num_clusters!r}.'
            )
        self.num_clusters = num_clusters
        self.seed = seed

    def __call__(self, images: FeatureSet) -> Tensor:
        """Cluster images.

        Args:
            images (FeatureSet): N images.

        Returns:
            Tensor: Labels, (N, ) int64 on the CPU.

        Raises:
            InputError: If there are fewer images than clusters.
        """
        if not 1 <= self.num_clusters <= len(images):
            raise InputError(
                f'num_clusters of KMeans is {self.num_clusters}, but must be '
                f'between 1 and the number of images, {len(images)}.'
            )
        kmeans = sklearn.cluster.KMeans(
            self.num_clusters, n_init=1, random_state=self.seed
        )
        features = F.normalize(images.features.float()).cpu().numpy()
        return torch.from_numpy(kmeans.fit_predict(features)).long()

import inspect

import torch
from sklearn.cluster import DBSCAN
from torch import Tensor

from mmreid.errors import InputError
from mmreid.evaluation import camera_aware_jaccard_graph, jaccard_graph
from mmreid.registry import MODELS
from mmreid.structures import FeatureSet


@MODELS.register_module()
class JaccardDBSCAN:
    """DBSCAN on the Jaccard distance of k-reciprocal neighbours.

    An image with ``min_samples`` images within ``eps``, itself among them, is
    a core; cores within ``eps`` of each other, and what lies around them,
    are one cluster. Images of no cluster are outliers. Clusters are as many
    as there are. Labels are numbered by the first core of each cluster.

    Args:
        eps (float): Largest distance of neighbours, in (0, 1): the smaller,
            the more and the purer clusters. Defaults to 0.6.
        min_samples (int): Images around a core, itself among them. Defaults
            to 4.
        camera_aware (bool): Take the camera-aware distance. Defaults to
            False.
        **neighbours: Options of :func:`mmreid.evaluation.jaccard_graph`
            (``k1``, ``k2``), or of
            :func:`mmreid.evaluation.camera_aware_jaccard_graph`.

    Raises:
        InputError: If an option is out of its range, or one of the other
            distance.
    """

    def __init__(
        self,
        eps: float = 0.6,
        min_samples: int = 4,
        camera_aware: bool = False,
        **neighbours: int,
    ) -> None:
        if not 0 < eps < 1:
            raise InputError(
                f'eps of JaccardDBSCAN must be in (0, 1), but is {eps}.'
            )
        if int(min_samples) != min_samples or min_samples < 2:
            raise InputError(
                'min_samples of JaccardDBSCAN must be a whole number of 2 or '
                f'more, but is {min_samples}.'
            )
        self.eps = eps
        self.min_samples = min_samples
        self.graph = (
            camera_aware_jaccard_graph if camera_aware else jaccard_graph
        )
        parameters = inspect.signature(self.graph).parameters.values()
        options = [p.name for p in parameters if p.default is not p.empty]
        unknown = [name for name in neighbours if name not in options]
        if unknown:
            raise InputError(
                f"JaccardDBSCAN has no option '{unknown[0]}' with "
                f'camera_aware={camera_aware}; the options of that distance '
                f'are {", ".join(options)}. In a config that inherits others, '
                'replace the whole clusterer: _delete_=True.'
            )
        self.neighbours = neighbours

    def __call__(self, images: FeatureSet) -> Tensor:
        """Cluster images.

        Args:
            images (FeatureSet): N images, with their cameras if the distance
                is to heed them.

        Returns:
            Tensor: Labels, (N, ) int64 on the CPU, -1 for outliers.

        Raises:
            InputError: See the distance.
        """
        return self.labels_at(images, self.eps)[0]

    def labels_at(self, images: FeatureSet, *radii: float) -> list[Tensor]:
        """Cluster images by several radii in place of ``eps``.

        Args:
            images (FeatureSet): See :meth:`__call__`.
            *radii (float): Largest distances of neighbours.

        Returns:
            list[Tensor]: Labels of each, as :meth:`__call__` gives them.
        """
        graph = self.graph(images, max(radii), **self.neighbours)
        found = []
        for eps in radii:
            dbscan = DBSCAN(
                eps, min_samples=self.min_samples, metric='precomputed'
            )
            found.append(torch.from_numpy(dbscan.fit_predict(graph)).long())
        return found

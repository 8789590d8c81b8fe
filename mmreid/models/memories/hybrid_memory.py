import torch
import torch.nn.functional as F
from mmengine.dist import broadcast
from torch import Tensor

from mmreid.registry import MODELS

from .cluster_memory import ClusterMemory, cluster_means


@MODELS.register_module()
class HybridMemory(ClusterMemory):
    """Unit vectors of the source's classes w and the target's images v.

    An image is compared with each class w_k of the source, and with each
    cluster of the target, c_k, the mean of its images' vectors (Eq. 3); an
    image of no cluster is one by itself.

    The rows are the n_s classes, then the images. A batch moves the rows that
    it has images of, ``w = m w + (1 - m) mean(f)`` over the batch's images of
    the class (Eq. 2) and ``v = m v + (1 - m) f`` (Eq. 4), to unit norm.

    Args:
        temperature (float): tau. Defaults to 0.05.
        momentum (float): m, the weight of the old row. Defaults to 0.2.
    """

    def __init__(
        self, temperature: float = 0.05, momentum: float = 0.2
    ) -> None:
        super().__init__(temperature, momentum)

    @torch.no_grad()
    def start(self, source: Tensor, person_id: Tensor, target: Tensor) -> None:
        """Set w to the classes' means and v to the images' features.

        Args:
            source (Tensor): Features of the source, (N_s, D), of unit norm.
            person_id (Tensor): Class of each, (N_s, ) int64, from 0.
            target (Tensor): Features of the target, (N_t, D), of unit norm.
        """
        classes = cluster_means(source, person_id, int(person_id.max()) + 1)
        self.rows = torch.cat([classes, target]).to(self.rows)
        broadcast(self.rows)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Logits of classes and clusters, over the temperature.

        Args:
            features (Tensor): (N, D).
            labels (Tensor): Cluster of each target image, (N_t, ) int64, from
                0 to K - 1, none of which is empty.

        Returns:
            Tensor: (N, n_s + K).
        """
        classes, images = self.rows.tensor_split([-len(labels)])
        sizes = labels.bincount()
        total = images.new_zeros(len(sizes), images.shape[1])
        clusters = total.index_add_(0, labels, images) / sizes[:, None]
        return features @ torch.cat([classes, clusters]).T / self.temperature

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Let the images of a batch move their rows.

        Args:
            features (Tensor): (N, D), of unit norm.
            labels (Tensor): Row of each, (N, ) int64.
        """
        # A new tensor: the backward pass still needs the old one.
        rows = self.rows.clone()
        touched, place, num = labels.unique(
            return_inverse=True, return_counts=True
        )
        total = rows.new_zeros(len(touched), rows.shape[1])
        total.index_add_(0, place, features.to(rows))
        moved = torch.lerp(total / num[:, None], rows[touched], self.momentum)
        rows[touched] = F.normalize(moved)
        self.rows = rows

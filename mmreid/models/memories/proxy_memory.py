import torch
from mmengine.dist import broadcast
from torch import Tensor

from mmreid.registry import MODELS

from .cluster_memory import ClusterMemory
from .utils import take_shapes


@MODELS.register_module()
class ProxyMemory(ClusterMemory):
    """A unit vector per proxy: the images of one cluster from one camera.

    As :class:`ClusterMemory`, with the cluster and the camera of each row
    beside it, in buffers.

    Args:
        temperature (float): tau. Defaults to 0.07.
        momentum (float): The weight of the old row. Defaults to 0.2.

    Attributes:
        cluster (Tensor): Cluster of each row, (K, ) int64.
        camera (Tensor): Camera of each row, (K, ) int64.
    """

    def __init__(
        self, temperature: float = 0.07, momentum: float = 0.2
    ) -> None:
        super().__init__(temperature, momentum)
        for name in ('cluster', 'camera'):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))

    @torch.no_grad()
    def split(self, labels: Tensor, camera_id: Tensor) -> Tensor:
        """Split clusters by their cameras, and note which proxy is of which.

        Args:
            labels (Tensor): Cluster of each image, (N, ) int64, -1 for
                outliers.
            camera_id (Tensor): (N, ) int64.

        Returns:
            Tensor: Proxy of each image, (N, ) int64, numbered from 0 in the
            order of clusters and cameras; -1 for outliers.
        """
        known = labels >= 0
        both = torch.stack([labels[known], camera_id[known]], 1)
        both, proxies = both.unique(dim=0, return_inverse=True)
        self.cluster, self.camera = both[:, 0].clone(), both[:, 1].clone()
        found = torch.full_like(labels, -1)
        found[known] = proxies
        for tensor in (self.cluster, self.camera, found):
            broadcast(tensor)
        return found

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        take_shapes(self, state_dict, prefix, 'cluster', 'camera')
        super()._load_from_state_dict(state_dict, prefix, *args)

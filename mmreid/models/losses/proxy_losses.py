import torch
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS


def mean_per_camera(terms: Tensor, camera_id: Tensor) -> Tensor:
    """The mean over each camera's images, summed over the cameras.

    Args:
        terms (Tensor): One per image, (N, ).
        camera_id (Tensor): (N, ).

    Returns:
        Tensor: A scalar.
    """
    same = camera_id[:, None] == camera_id
    return (terms / same.sum(1)).sum()


@MODELS.register_module()
class IntraCameraLoss(nn.Module):
    r"""L_intra of camera-aware proxies: each image and its own camera's.

    ``L = sum_c 1/N_c sum_{i of c} -log p_i``, with p_i the softmax of an
    image's logits over the proxies of its camera c, at its own proxy, and N_c
    the images of c in the batch.

    Args:
        loss_weight (float): Weight. Defaults to 1.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self, logits: Tensor, proxies: Tensor, camera: Tensor
    ) -> Tensor:
        """Loss of a batch.

        Args:
            logits (Tensor): Cosines over the temperature, (N, K).
            proxies (Tensor): Proxy of each image, (N, ) int64.
            camera (Tensor): Camera of each proxy, (K, ) int64.

        Returns:
            Tensor: A scalar.
        """
        own = camera[proxies]
        others = own[:, None] != camera
        log_p = logits.masked_fill(others, -torch.inf).log_softmax(1)
        terms = -log_p.gather(1, proxies[:, None])[:, 0]
        return self.loss_weight * mean_per_camera(terms, own)


@MODELS.register_module()
class InterCameraLoss(nn.Module):
    r"""L_inter of camera-aware proxies: each image and its whole cluster.

    ``L = sum_c 1/N_c sum_{i of c} -1/|P| sum_{p in P} log q_p``, with P the
    proxies of the image's cluster, of all cameras, and q the softmax of its
    logits over P and the ``num_negatives`` nearest proxies of other clusters.

    Args:
        num_negatives (int): Hard negative proxies of an image; all, where
            there are fewer. Defaults to 50.
        loss_weight (float): lambda. Defaults to 0.5.

    Raises:
        InputError: If ``num_negatives`` is less than 1.
    """

    def __init__(
        self, num_negatives: int = 50, loss_weight: float = 0.5
    ) -> None:
        super().__init__()
        if num_negatives < 1:
            raise InputError(
                'num_negatives of InterCameraLoss must be 1 or more, but is '
                f'{num_negatives}.'
            )
        self.num_negatives = num_negatives
        self.loss_weight = loss_weight

    def forward(
        self,
        logits: Tensor,
        proxies: Tensor,
        camera: Tensor,
        cluster: Tensor,
    ) -> Tensor:
        """Loss of a batch.

        Args:
            logits (Tensor): Cosines over the temperature, (N, K).
            proxies (Tensor): Proxy of each image, (N, ) int64.
            camera (Tensor): Camera of each proxy, (K, ) int64.
            cluster (Tensor): Cluster of each proxy, (K, ) int64.

        Returns:
            Tensor: A scalar.
        """
        positive = cluster[proxies][:, None] == cluster
        negatives = logits.masked_fill(positive, -torch.inf)
        hard = negatives.topk(min(self.num_negatives, len(cluster)), 1).values
        of_cluster = logits.masked_fill(~positive, -torch.inf)
        total = torch.cat([of_cluster, hard], 1).logsumexp(1)
        mean = (logits * positive).sum(1) / positive.sum(1)
        return self.loss_weight * mean_per_camera(
            total - mean, camera[proxies]
        )

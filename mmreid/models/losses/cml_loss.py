import torch
from torch import Tensor, nn

from mmreid.registry import MODELS


def camera_statistics(
    log_soft_multilabel: Tensor, camera_id: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and unbiased standard deviation within each image's camera.

    Every row carries its camera's statistics, so that nothing depends on the
    number of cameras or on which of them the batch holds.

    Args:
        log_soft_multilabel (Tensor): (N, N_p).
        camera_id (Tensor): (N, ).

    Returns:
        tuple[Tensor]: Means and standard deviations, (N, N_p) each, and the
        weights, (N, ), under which each camera with two images or more
        counts once (an image alone in its camera has weight 0).
    """
    same = (camera_id[:, None] == camera_id).to(log_soft_multilabel)
    count = same.sum(1, keepdim=True)
    mean = same @ log_soft_multilabel / count
    variance = same @ (log_soft_multilabel - mean).square()
    variance = variance / (count - 1).clamp(min=1)
    # The root has no gradient at 0 (all images of a camera alike): give 0.
    zero = variance == 0
    std = variance.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)
    weight = ((count > 1) / count).squeeze(1).to(log_soft_multilabel)
    return mean, std, weight


@MODELS.register_module()
class CMLLoss(nn.Module):
    """Cross-view consistent soft multilabel loss, L_CML (Eq. 6).

    ``L_CML = sum_v |mu_v - mu|^2 + |sigma_v - sigma|^2`` on the mean and
    standard deviation of the log soft multilabels of camera v, averaged over
    the two terms of each camera (the paper omits the averaging). The
    references mu and sigma are running values: before each loss they move
    towards the mean over the batch's cameras, without gradient. A camera
    seen once in the batch is left out; a batch without any other has loss 0
    and leaves the references as they are.

    Args:
        momentum_scale (float): The references move by ``B / momentum_scale``
            of the way, B being the size of the whole batch, source and
            target. Defaults to 10000.
    """

    def __init__(self, momentum_scale: float = 10000) -> None:
        super().__init__()
        self.momentum_scale = momentum_scale
        self.register_buffer('mean', torch.zeros(0))
        self.register_buffer('std', torch.zeros(0))

    @torch.no_grad()
    def init_references(
        self, log_soft_multilabel: Tensor, camera_id: Tensor
    ) -> None:
        """Set mu and sigma to the mean over all cameras of the target set.

        Args:
            log_soft_multilabel (Tensor): Of every target image, (N, N_p).
            camera_id (Tensor): (N, ).

        Raises:
            ValueError: If no camera has two images.
        """
        means, stds = [], []
        for camera in camera_id.unique():
            rows = log_soft_multilabel[camera_id == camera]
            if len(rows) > 1:
                std, mean = torch.std_mean(rows, 0)
                means.append(mean)
                stds.append(std)
        if not means:
            raise ValueError(
                'L_CML needs a camera with at least two target images, but '
                'each of the target images has a camera of its own.'
            )
        self.mean = torch.stack(means).mean(0)
        self.std = torch.stack(stds).mean(0)

    def forward(
        self, log_soft_multilabel: Tensor, camera_id: Tensor, batch_size: int
    ) -> Tensor:
        """Move the references, then compare the batch's cameras with them.

        Args:
            log_soft_multilabel (Tensor): Of the target images, (N, N_p).
            camera_id (Tensor): (N, ).
            batch_size (int): Size B of the whole batch.

        Returns:
            Tensor: A scalar.
        """
        mean, std, weight = camera_statistics(log_soft_multilabel, camera_id)
        num_cameras = weight.sum()
        share = weight / num_cameras.clamp(min=1)
        with torch.no_grad():
            # 0 when no camera can be used.
            step = batch_size / self.momentum_scale * (num_cameras > 0.5)
            for reference, values in ((self.mean, mean), (self.std, std)):
                reference += step * (share @ values - reference)
        distance = (mean - self.mean).square().sum(1)
        distance = distance + (std - self.std).square().sum(1)
        return (share * distance).sum() / 2

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        # As long as the target set's statistics they replace.
        for name in ('mean', 'std'):
            stored = state_dict.get(prefix + name)
            if stored is not None:
                setattr(
                    self, name, getattr(self, name).new_zeros(stored.shape)
                )
        super()._load_from_state_dict(state_dict, prefix, *args)

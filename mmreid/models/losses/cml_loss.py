from typing import NamedTuple

from torch import Tensor, nn

from mmreid.registry import MODELS


class CameraStatistics(NamedTuple):
    """Mean and standard deviation within each image's camera.

    Every row carries its camera's statistics, so that nothing depends on the
    number of cameras or on which of them the batch holds.

    Attributes:
        mean (Tensor): (N, N_p).
        std (Tensor): Unbiased standard deviation, (N, N_p).
        share (Tensor): Weights (N, ) under which the rows are averaged, each
            camera with two images or more counting once; they sum to one, or
            to zero if there is no such camera.
        num_cameras (Tensor): Cameras with two images or more, a scalar.
    """

    mean: Tensor
    std: Tensor
    share: Tensor
    num_cameras: Tensor


def camera_statistics(
    log_soft_multilabel: Tensor, camera_id: Tensor
) -> CameraStatistics:
    """Compute the statistics of a batch, with gradient.

    Args:
        log_soft_multilabel (Tensor): (N, N_p).
        camera_id (Tensor): (N, ).
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
    num_cameras = weight.sum()
    share = weight / num_cameras.clamp(min=1)
    return CameraStatistics(mean, std, share, num_cameras)


@MODELS.register_module()
class CMLLoss(nn.Module):
    """Cross-view consistent soft multilabel loss, L_CML (Eq. 6 of MAR).

    ``L_CML = sum_v |mu_v - mu|^2 + |sigma_v - sigma|^2`` on the mean and
    standard deviation of the log soft multilabels of camera v, averaged over
    the two terms of each camera (the paper omits the averaging). A camera
    seen once in the batch is left out; a batch without any other has loss 0.

    Args:
        loss_weight (float): Weight, lambda_1 in the paper. Defaults to 1.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self,
        statistics: CameraStatistics,
        reference_mean: Tensor,
        reference_std: Tensor,
    ) -> Tensor:
        """Compare a batch's cameras with the references.

        Args:
            statistics (CameraStatistics): Of the target images.
            reference_mean (Tensor): mu, (N_p, ), or a row for each image,
                (N, N_p).
            reference_std (Tensor): sigma, likewise.

        Returns:
            Tensor: A scalar.
        """
        mean, std, share, _ = statistics
        distance = (mean - reference_mean).square().sum(1)
        distance = distance + (std - reference_std).square().sum(1)
        return self.loss_weight * ((share * distance).sum() / 2)

import torch
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS

from ..losses.cml_loss import CameraStatistics
from .utils import take_shapes


@MODELS.register_module()
class CameraReferences(nn.Module):
    """The references mu and sigma of L_CML: what cameras are compared with.

    Running values of the mean and the standard deviation of the log soft
    multilabels, over cameras. They start as those of the whole target set
    (:meth:`init`), and each batch moves them towards the mean over its
    cameras, without gradient.

    Args:
        momentum_scale (float): They move by ``B / momentum_scale`` of the
            way, B being the size of the whole batch, source and target.
            Defaults to 10000.

    Raises:
        InputError: If ``momentum_scale`` is not above 0.
    """

    def __init__(self, momentum_scale: float = 10000) -> None:
        super().__init__()
        if not momentum_scale > 0:
            raise InputError(
                'momentum_scale of CameraReferences must be above 0, but is '
                f'{momentum_scale}.'
            )
        self.momentum_scale = momentum_scale
        self.register_buffer('mean', torch.zeros(0))
        self.register_buffer('std', torch.zeros(0))

    @torch.no_grad()
    def init(self, log_soft_multilabel: Tensor, camera_id: Tensor) -> None:
        """Set mu and sigma to the mean over all cameras of the target set.

        Args:
            log_soft_multilabel (Tensor): Of every target image, (N, N_p).
            camera_id (Tensor): (N, ).

        Raises:
            InputError: If no camera has two images.
        """
        means, stds = [], []
        for camera in camera_id.unique():
            rows = log_soft_multilabel[camera_id == camera]
            if len(rows) > 1:
                std, mean = torch.std_mean(rows, 0)
                means.append(mean)
                stds.append(std)
        if not means:
            raise InputError(
                'L_CML needs a camera with at least two target images, but '
                'each of the target images has a camera of its own.'
            )
        self.mean = torch.stack(means).mean(0)
        self.std = torch.stack(stds).mean(0)

    @torch.no_grad()
    def move(self, statistics: CameraStatistics, batch_size: int) -> None:
        """Move towards the mean over a batch's cameras.

        Args:
            statistics (CameraStatistics): Of the target images. If no camera
                has two images, mu and sigma stay as they are.
            batch_size (int): Size B of the whole batch.
        """
        share, num_cameras = statistics.share, statistics.num_cameras
        # 0 when no camera can be used.
        step = batch_size / self.momentum_scale * (num_cameras > 0.5)
        for reference, values in (
            (self.mean, statistics.mean),
            (self.std, statistics.std),
        ):
            reference += step * (share @ values - reference)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        # As long as the target set's statistics they replace; a checkpoint
        # of an earlier stage has none.
        take_shapes(self, state_dict, prefix, 'mean', 'std')
        super()._load_from_state_dict(state_dict, prefix, *args)

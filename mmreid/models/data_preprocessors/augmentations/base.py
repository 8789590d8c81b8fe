from abc import ABCMeta, abstractmethod

from torch import Tensor, nn

from mmreid.errors import InputError


class BatchAugmentation(nn.Module, metaclass=ABCMeta):
    """One augmentation step for a whole batch.

    A step maps uint8 images to uint8 images of the same shape. The images
    have the channel order of loading: blue, green, red. Options that name
    colours (``fill``) are written red, green, blue. A step that computes in
    floating point clamps to [0, 255] and rounds once, at its end.

    A step draws nothing itself: it declares ``num_draws`` and is given that
    many uniform numbers per image. What it does to an image depends on the
    image and on these numbers alone, not on the rest of the batch. It
    neither changes its input in place nor waits for the device: no
    ``.item()``, no shape that depends on values.

    Args:
        prob (float): Probability that the step changes an image; a subclass
            may always do a part of its work, and says so.
    """

    num_draws: int

    def __init__(self, prob: float) -> None:
        super().__init__()
        if not 0 <= prob <= 1:
            raise InputError(
                f'{type(self).__name__}: the probability must lie in '
                f'[0, 1], got {prob}.'
            )
        self.prob = prob

    @abstractmethod
    def forward(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images (Tensor): (N, 3, H, W), uint8, BGR.
            draws (Tensor): (N, ``num_draws``), float32 in [0, 1).

        Returns:
            Tensor: (N, 3, H, W), uint8, BGR.
        """

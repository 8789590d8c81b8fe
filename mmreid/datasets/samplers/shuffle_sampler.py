import numpy as np

from mmreid.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ShuffleSampler:
    """Draws a domain's images in a random order, pass after pass.

    The images that do not fill a batch are left to later passes.

    Args:
        num_images (int): Images of the domain.
        batch_size (int): Images of the domain in a batch, over all ranks.
        key (tuple[int, ...]): What the draws are a function of: the run's
            seed and the numbers of stage and domain.
    """

    uses_labels = False

    def __init__(
        self, num_images: int, batch_size: int, key: tuple[int, ...]
    ) -> None:
        self.num_images = num_images
        self.batch_size = batch_size
        self.key = key
        self._shuffled = (None, None)

    @property
    def epoch_length(self) -> int:
        """Batches of one pass."""
        return self.num_images // self.batch_size

    def _permutation(self, *place: int) -> np.ndarray:
        if self._shuffled[0] != place:
            generator = np.random.default_rng((*self.key, *place))
            order = generator.permutation(self.num_images)
            self._shuffled = (place, order)
        return self._shuffled[1]

    def batch(self, epoch: int, position: int) -> np.ndarray:
        """The images of one batch.

        Args:
            epoch (int): Epoch of the stage; each starts a new pass.
            position (int): Batch of the epoch, from 0; where the images run
                out, the next pass begins.

        Returns:
            np.ndarray: Indices inside the domain, (batch_size, ).
        """
        turn, place = divmod(position, self.epoch_length)
        start = place * self.batch_size
        return self._permutation(epoch, turn)[start : start + self.batch_size]

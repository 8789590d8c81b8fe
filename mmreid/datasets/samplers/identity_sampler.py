from collections.abc import Sequence

import numpy as np

from mmreid.errors import InputError
from mmreid.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class IdentitySampler:
    """Draws P identities and K images of each, as losses of triplets need.

    Every identity comes once before one comes again, and so does every image
    of an identity with K images or more; of one with fewer, images come
    several times in a batch. Images of the label -1 are left out: those of
    junk, or the outliers of a clustering. A pass is as many batches as the
    domain has images for, whatever the labels, so that a stage's length does
    not depend on a clustering.

    Args:
        num_images (int): Images of the domain.
        batch_size (int): P K, the images of the domain in a batch, over all
            ranks.
        key (tuple[int, ...]): What the draws are a function of, beside the
            labels: the run's seed and the numbers of stage and domain.
        labels (np.ndarray): Identity of each image, or pseudo-label, (N, ).
        camera_id (np.ndarray): Camera of each image, (N, ).
        num_instances (int): K, the images of an identity. Defaults to 4.
        across_cameras (bool): Draw the K images from as many cameras of the
            identity as there are. Defaults to False.
        repeat (bool): Draw an image of an identity with fewer than K several
            times. False draws it once, and images of further identities fill
            the batch, of the last of which there may be fewer: outliers that
            are each a label of their own. Defaults to True.

    Raises:
        InputError: If K does not divide the batch, or if there are fewer
            identities than P.
    """

    uses_labels = True

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        key: tuple[int, ...],
        labels: np.ndarray,
        camera_id: np.ndarray,
        num_instances: int = 4,
        across_cameras: bool = False,
        repeat: bool = True,
    ) -> None:
        check_instances(batch_size, num_instances)
        self.num_images = num_images
        self.batch_size = batch_size
        self.key = key
        self.num_instances = num_instances
        self.camera_id = camera_id if across_cameras else None
        self.repeat = repeat
        order = np.argsort(labels, kind='stable')
        known, starts = np.unique(labels[order], return_index=True)
        groups = np.split(order, starts[1:])
        self.images_of = [
            group
            for label, group in zip(known, groups, strict=True)
            if label >= 0
        ]
        num_identities = batch_size // num_instances
        if len(self.images_of) < num_identities:
            raise InputError(
                f'A batch takes {num_instances} images of {num_identities} '
                f'identities, but there are only {len(self.images_of)}: '
                'lower batch_size or raise num_instances.'
            )
        self._epoch = (None, None)

    @property
    def epoch_length(self) -> int:
        """Batches of one pass."""
        return self.num_images // self.batch_size

    def _draw_epoch(self, epoch: int, num_batches: int) -> np.ndarray:
        """Images of an epoch's batches, (num_batches, batch_size)."""
        rng = np.random.default_rng((*self.key, epoch))
        queues: dict[int, list[int]] = {}
        waiting: list[int] = []
        batches = []
        for _ in range(num_batches):
            drawn: list[int] = []
            used: list[int] = []
            while len(drawn) < self.batch_size:
                # As many as are left to draw, if each gives K images.
                room = self.batch_size - len(drawn)
                identities = -(-room // self.num_instances)
                if len(waiting) < identities:
                    waiting = _refill(waiting, len(self.images_of), rng, used)
                chosen, waiting = waiting[:identities], waiting[identities:]
                used += chosen
                for identity in chosen:
                    drawn += self._draw(identity, queues, rng).tolist()
            batches.append(drawn[: self.batch_size])
        return np.array(batches)

    def _draw(self, identity: int, queues: dict, rng) -> np.ndarray:
        """K images of an identity, which move on in its queue."""
        images, num = self.images_of[identity], self.num_instances
        if len(images) < num and not self.repeat:
            return rng.permutation(images)
        if len(images) < num:
            # Each at least once, and no more often than it must be.
            turns = [
                rng.permutation(images) for _ in range(-(-num // len(images)))
            ]
            return np.concatenate(turns)[:num]
        queue = queues.get(identity, [])
        if len(set(queue)) < num:
            queue = _refill(queue, images, rng)
        if self.camera_id is None:
            drawn = queue[:num]
        else:
            drawn = self._spread(queue)
        for image in drawn:
            queue.remove(image)  # its first occurrence
        queues[identity] = queue
        return np.array(drawn)

    def _spread(self, queue: list[int]) -> list[int]:
        """K of the queue's images, the cameras taking turns."""
        queue = list(dict.fromkeys(queue))  # no image twice
        turn_of: dict[int, int] = {}
        turns = []
        for image in queue:
            camera = int(self.camera_id[image])
            turn_of[camera] = turn = turn_of.get(camera, -1) + 1
            turns.append(turn)
        order = np.argsort(turns, kind='stable')[: self.num_instances]
        return [queue[i] for i in order]

    def batch(self, epoch: int, position: int) -> np.ndarray:
        """The images of one batch.

        Args:
            epoch (int): Epoch of the stage.
            position (int): Batch of the epoch, from 0.

        Returns:
            np.ndarray: Indices inside the domain, (batch_size, ), the images
            of an identity side by side.
        """
        drawn_epoch, batches = self._epoch
        if drawn_epoch != epoch or position >= len(batches):
            num = max(self.epoch_length, position + 1)
            if drawn_epoch == epoch:
                # Of a long epoch, which is drawn anew each time.
                num = max(num, 2 * len(batches))
            batches = self._draw_epoch(epoch, num)
            self._epoch = (epoch, batches)
        return batches[position]


def check_instances(batch_size: int, num_instances: int) -> None:
    """See whether a batch is of K images each.

    Raises:
        InputError: If K does not divide it.
    """
    if num_instances < 1 or batch_size % num_instances:
        raise InputError(
            f'IdentitySampler draws {num_instances} images of an identity, '
            f'which does not divide the {batch_size} images of a batch: '
            'change num_instances or batch_size.'
        )


def _refill(
    left: list[int],
    items: int | np.ndarray,
    rng,
    used: Sequence[int] = (),
) -> list[int]:
    """What is left, then all in a new order.

    What is left or used comes last among them, so that it is not drawn twice
    at once.
    """
    fresh, late = rng.permutation(items).tolist(), {*left, *used}
    later = [item for item in fresh if item in late]
    return left + [i for i in fresh if i not in late] + later

import torch
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS


@MODELS.register_module()
class SoftMultilabelMemory(nn.Module):
    """One running soft multilabel per target image.

    The first visit of an image stores its soft multilabel; each later one
    moves the row: ``row = momentum * row + (1 - momentum) * y``. The mining
    reads the row after its update. No gradient flows through it.

    The rows are allocated when training starts, once the number of target
    images is known (:meth:`allocate`), and travel in the checkpoint from
    the first update on.

    Args:
        momentum (float): Weight of the old row, in [0, 1]. Defaults to 0.9.

    Raises:
        InputError: If it is out of its range.
    """

    def __init__(self, momentum: float = 0.9) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise InputError(
                'momentum of SoftMultilabelMemory must be in [0, 1], but is '
                f'{momentum}.'
            )
        self.momentum = momentum
        self.register_buffer('rows', torch.zeros(0, 0))
        self.register_buffer('visited', torch.zeros(0, dtype=torch.bool))

    def allocate(self, num_images: int, num_persons: int) -> None:
        """Empty memory of (num_images, num_persons) rows."""
        self.rows = self.rows.new_zeros(num_images, num_persons)
        self.visited = self.visited.new_zeros(num_images)

    def clear(self) -> None:
        """Forget all rows."""
        self.visited.zero_()

    @torch.no_grad()
    def update(self, index: Tensor, soft_multilabel: Tensor) -> Tensor:
        """Write a batch and return its rows.

        Args:
            index (Tensor): Target image of each row, (N, ), no image twice.
            soft_multilabel (Tensor): (N, N_p).

        Returns:
            Tensor: The rows after the update, (N, N_p).
        """
        soft_multilabel = soft_multilabel.to(self.rows)
        moved = torch.lerp(soft_multilabel, self.rows[index], self.momentum)
        new = torch.where(self.visited[index][:, None], moved, soft_multilabel)
        self.rows[index] = new
        self.visited[index] = True
        return new

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        # Nothing to keep before the first update: a checkpoint of the
        # pretraining fits any target.
        if self.visited.any():
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing, *args
    ) -> None:
        rows = state_dict.get(prefix + 'rows')
        if rows is None:
            self.visited.zero_()
            return
        if not len(self.rows):
            return  # testing needs no memory
        if rows.shape != self.rows.shape:
            raise InputError(
                'The checkpoint holds a soft multilabel memory of '
                f'{rows.shape[0]} target images x {rows.shape[1]} reference '
                f'persons, but this run has {self.rows.shape[0]} x '
                f'{self.rows.shape[1]}: it was trained on another target or '
                'auxiliary set. To adapt to this one, start from the '
                'checkpoint of the pretraining (stage_pretrain.pth).'
            )
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing, *args
        )

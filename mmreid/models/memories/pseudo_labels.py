import torch
from mmengine.dist import broadcast
from torch import Tensor, nn

from mmreid.errors import InputError
from mmreid.registry import MODELS


@MODELS.register_module()
class PseudoLabels(nn.Module):
    """One pseudo-label per image of a domain, and the epoch it is of.

    They live here, in buffers, and not in the data set, whose labels stay
    erased: they are in every checkpoint, a run killed in the middle of an
    epoch resumes with them, and they are equal on every rank.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('labels', torch.zeros(0, dtype=torch.int64))
        self.register_buffer('epoch', torch.tensor(-1))

    def allocate(self, num_images: int) -> None:
        """Room for ``num_images``, none of which has a label."""
        self.labels = self.labels.new_full((num_images,), -1)
        self.epoch.fill_(-1)

    @torch.no_grad()
    def assign(self, labels: Tensor, epoch: int) -> None:
        """Take the labels of an epoch: on every rank those of the first.

        A clustering need not give the same labels on two processes.

        Args:
            labels (Tensor): (N, ) int64, -1 for outliers.
            epoch (int): Epoch within the stage.

        Raises:
            InputError: If there is not one label per image.
        """
        if labels.shape != self.labels.shape:
            raise InputError(
                f'There are {len(self.labels)} images, but pseudo-labels of '
                f'shape {tuple(labels.shape)}: give one label per image.'
            )
        self.labels.copy_(labels)
        broadcast(self.labels)
        self.epoch.fill_(epoch)

    def forward(self, index: Tensor) -> Tensor:
        """Labels of images by their indices in the domain, (B, ) -> (B, )."""
        return self.labels[index]

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        # A checkpoint of a stage without clusters fits any target.
        if self.epoch >= 0:
            super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        stored = state_dict.get(prefix + 'labels')
        if stored is None:
            self.labels.fill_(-1)
            self.epoch.fill_(-1)
            return
        if not len(self.labels):
            return  # testing needs none
        if stored.shape != self.labels.shape:
            raise InputError(
                f'The checkpoint holds pseudo-labels of {len(stored)} images, '
                f'but this run has {len(self.labels)}: it was trained on '
                'another target. Start from the checkpoint of a stage before '
                'it.'
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmreid.registry import MODELS

from .counter_rng import counter_uniform


@MODELS.register_module()
class ReIDDataPreprocessor(BaseDataPreprocessor):
    """Augments and normalises a batch of uint8 images on the device.

    In training: horizontal flip and a random crop from the zero-padded image
    (padding comes before normalising, as in the published MAR code), in one
    gather over the batch. Every draw is a function of the seed, the iteration
    and the sample (see :func:`counter_uniform`). In testing: normalisation
    only.

    Args:
        mean (Sequence[float]): Mean per channel, of 255, in the order that
            ``bgr_to_rgb`` leaves. Target and test images use it.
        std (Sequence[float]): Standard deviation, likewise.
        source_mean (Sequence[float], optional): Mean of the source images.
            Defaults to None, which is ``mean``.
        source_std (Sequence[float], optional): Standard deviation of the
            source images. Defaults to None, which is ``std``.
        bgr_to_rgb (bool): Reverse the channels; loading gives BGR. Defaults
            to True.
        flip_prob (float): Probability of a flip. Defaults to 0.5.
        crop_padding (int): Zero padding in pixels on every side of the
            random crop. Defaults to 7.
        non_blocking (bool): Whether the copy to the device may overlap.
            Defaults to True.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        source_mean: Sequence[float] | None = None,
        source_std: Sequence[float] | None = None,
        bgr_to_rgb: bool = True,
        flip_prob: float = 0.5,
        crop_padding: int = 7,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        for name, values in dict(
            mean=mean,
            std=std,
            source_mean=mean if source_mean is None else source_mean,
            source_std=std if source_std is None else source_std,
        ).items():
            self.register_buffer(
                name, torch.tensor(values).float().view(-1, 1, 1), False
            )
        self.bgr_to_rgb = bgr_to_rgb
        self.flip_prob = flip_prob
        self.crop_padding = crop_padding

    def forward(self, data: dict, training: bool = False) -> dict:
        """Move, augment and normalise one batch.

        Args:
            data (dict): ``inputs``, uint8 (N, 3, H, W), BGR; and
                ``data_samples``, a dict of tensors (N, ); of
                ``num_source``, how many of the images, the first ones, are
                normalised as the source (none without it); and, in
                training, of the integers ``seed`` and ``iteration``.
            training (bool): Whether to augment. Defaults to False.

        Returns:
            dict: The same with ``inputs`` as float32.
        """
        data = self.cast_data(data)
        inputs, samples = data['inputs'], data['data_samples']
        if training:
            inputs = self.augment(inputs, samples)
        if self.bgr_to_rgb:
            inputs = inputs.flip(1)
        inputs = inputs.float()
        num_source = samples.get('num_source', 0)
        source = (inputs[:num_source] - self.source_mean) / self.source_std
        target = (inputs[num_source:] - self.mean) / self.std
        return dict(inputs=torch.cat([source, target]), data_samples=samples)

    def augment(self, inputs: Tensor, samples: dict) -> Tensor:
        """Flip and crop (N, C, H, W) uint8 images."""
        height, width = inputs.shape[2:]
        # A source and a target image may have the same index: told apart by
        # the domain.
        draws = counter_uniform(
            samples['seed'],
            samples['iteration'],
            samples['sample_idx'] * 2 + samples['domain'],
            3,
        )
        offsets = (draws[:, 1:] * (2 * self.crop_padding + 1)).long()
        rows = torch.arange(height, device=inputs.device) + offsets[:, :1]
        columns = torch.arange(width, device=inputs.device).expand(
            len(inputs), -1
        )
        flip = draws[:, :1] < self.flip_prob
        columns = torch.where(flip, width - 1 - columns, columns)
        columns = columns + offsets[:, 1:]
        padded = F.pad(inputs, [self.crop_padding] * 4)
        index = torch.arange(len(inputs), device=inputs.device)
        channel = torch.arange(inputs.size(1), device=inputs.device)
        return padded[
            index[:, None, None, None],
            channel[None, :, None, None],
            rows[:, None, :, None],
            columns[:, None, None, :],
        ]

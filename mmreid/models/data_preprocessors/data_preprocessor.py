from collections.abc import Mapping, Sequence

import torch
from mmengine.dataset import default_collate
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmreid.errors import InputError
from mmreid.registry import MODELS

from .augmentations import BatchAugmentation
from .counter_rng import counter_uniform


def _statistics(name: str, mean: Sequence, std: Sequence) -> Tensor:
    """(2, 3, 1, 1), float32, after a check."""
    for key, values in dict(mean=mean, std=std).items():
        if len(values) != 3:
            raise InputError(
                f'ReIDDataPreprocessor: {name}{key} must be three numbers, '
                f'one per channel, got {values}.'
            )
    if min(std) <= 0:
        raise InputError(
            f'ReIDDataPreprocessor: {name}std must be positive, got {std}.'
        )
    return torch.tensor([list(mean), list(std)]).float().view(2, 3, 1, 1)


@MODELS.register_module()
class ReIDDataPreprocessor(BaseDataPreprocessor):
    """Augments and normalises a batch of uint8 images on the device.

    In training, the steps of ``augmentations`` run one after the other,
    before normalising, and the images of each domain are normalised with the
    numbers of that domain. In testing: normalisation only.

    Every draw is a function of the seed, the iteration and the sample (see
    :func:`counter_uniform`), so a resumed run augments as an uninterrupted
    one, on any device, with any number of workers and ranks. The steps take
    their draws from consecutive slots in the order of the list: a step added
    at the end does not change the draws of the steps before it.

    Args:
        mean (Sequence[float], optional): Mean per channel, of 255, in the
            order that ``bgr_to_rgb`` leaves. Test images use it, and training
            images of a domain that is not in ``domains``. Defaults to None,
            for ``measured_on``.
        std (Sequence[float], optional): Standard deviation, likewise.
        measured_on (str, optional): In place of numbers, the domain whose
            training images they are measured on before the training, by
            :meth:`measure`; they are then in the checkpoints. Defaults to
            None.
        domains (Mapping[str, dict], optional): For a domain by name that has
            numbers of its own, a dict of ``mean`` and ``std``. Defaults to
            None.
        augmentations (Sequence[dict], optional): Configs of the training
            steps, :class:`BatchAugmentation`. Defaults to None, which is
            ``[dict(type='RandomFlipCrop')]``.
        bgr_to_rgb (bool): Reverse the channels; loading gives BGR. Defaults
            to True.
        non_blocking (bool): Whether the copy to the device may overlap.
            Defaults to True.
    """

    # Images that are processed together: few enough for the intermediate
    # images to stay small, enough to fill a device.
    chunk_size = 64

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        measured_on: str | None = None,
        domains: Mapping[str, dict] | None = None,
        augmentations: Sequence[dict] | None = None,
        bgr_to_rgb: bool = True,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        if (measured_on is None) == (mean is None) or (mean is None) != (
            std is None
        ):
            raise InputError(
                'ReIDDataPreprocessor needs mean and std, or the domain that '
                f'they are measured_on, got {mean}, {std} and '
                f'{measured_on!r}.'
            )
        self.measured_on = measured_on
        if measured_on is None:
            mean, std = _statistics('', mean, std)
        else:
            mean = std = torch.full((3, 1, 1), torch.nan)
        persistent = measured_on is not None
        self.register_buffer('mean', mean.clone(), persistent=persistent)
        self.register_buffer('std', std.clone(), persistent=persistent)
        domains = domains or {}
        for name, numbers in domains.items():
            if set(numbers) != {'mean', 'std'}:
                raise InputError(
                    f'ReIDDataPreprocessor: domains[{name!r}] must hold '
                    f'exactly mean and std, got {sorted(numbers)}.'
                )
        self.domains = list(domains)
        # (domains, 2, 3, 1, 1): mean and std of each domain.
        own = [
            _statistics(f'domains[{name!r}].', **numbers)
            for name, numbers in domains.items()
        ]
        self.register_buffer(
            'domain_statistics',
            torch.stack(own) if own else mean.new_empty(0, 2, 3, 1, 1),
            persistent=False,
        )
        if augmentations is None:
            augmentations = [dict(type='RandomFlipCrop')]
        self.augmentations = nn.ModuleList(map(MODELS.build, augmentations))
        self.bgr_to_rgb = bgr_to_rgb

    def forward(self, data: dict, training: bool = False) -> dict:
        """Move, augment and normalise one batch.

        Args:
            data (dict): ``inputs``, uint8 (N, 3, H, W), BGR;
                ``data_samples``, a dict of tensors (N, ); in training,
                ``info``, which holds ``seed``, ``iteration`` and the rows of
                each domain, ``domains``; in testing, optionally ``domain``,
                the name of the domain that all the images belong to.
            training (bool): Whether to augment. Defaults to False.

        Returns:
            dict: The same, with ``inputs`` as float32 and without
            ``domain``.
        """
        data = self.cast_data(data)
        inputs = data['inputs']
        domain = data.pop('domain', None)
        if training:
            rows = data['info'].domains
        else:
            rows = {domain: slice(None)}
        mean = self.mean.repeat(len(inputs), 1, 1, 1)
        std = self.std.repeat(len(inputs), 1, 1, 1)
        for own, name in zip(
            self.domain_statistics, self.domains, strict=True
        ):
            if name in rows:
                mean[rows[name]], std[rows[name]] = own

        steps = self.draw(data) if training else []
        output = torch.empty_like(inputs, dtype=torch.float32)
        for start in range(0, len(inputs), self.chunk_size):
            chunk = slice(start, start + self.chunk_size)
            images = inputs[chunk]
            for step, draws in steps:
                images = step(images, draws[chunk])
            if self.bgr_to_rgb:
                images = images.flip(1)
            output[chunk] = images
            output[chunk].sub_(mean[chunk]).div_(std[chunk])
        return data | dict(inputs=output)

    @torch.no_grad()
    def measure(self, images: Dataset) -> None:
        """Take mean and standard deviation of images, over all pixels.

        Args:
            images (Dataset): Training images, as the loader has them.
        """
        count, total, square = 0, 0, 0
        loader = DataLoader(images, 64, collate_fn=default_collate)
        for batch in loader:
            pixels = batch['inputs'].double().transpose(0, 1).flatten(1)
            count += pixels.shape[1]
            total = total + pixels.sum(1)
            square = square + pixels.square().sum(1)
        mean = total / count
        std = (square / count - mean.square()).sqrt()
        for buffer, values in ((self.mean, mean), (self.std, std)):
            values = values.flip(0) if self.bgr_to_rgb else values
            buffer.copy_(values.view(3, 1, 1))

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        if self.measured_on is not None and self.mean.isfinite().all():
            # Measured on this run's images, not the checkpoint's.
            for name in ('mean', 'std'):
                state_dict[prefix + name] = getattr(self, name).clone()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def draw(self, data: dict) -> list[tuple[BatchAugmentation, Tensor]]:
        """Pair each step with its draws, (N, ``num_draws``)."""
        samples, info = data['data_samples'], data['info']
        domain = samples['domain']
        # Images of two domains may have the same index: told apart by the
        # domain, the first two by the lowest bit.
        key = samples['sample_idx'] * 2 + domain % 2 + (domain // 2 << 40)
        nums = [step.num_draws for step in self.augmentations]
        draws = counter_uniform(info.seed, info.iteration, key, sum(nums))
        return list(zip(self.augmentations, draws.split(nums, 1), strict=True))

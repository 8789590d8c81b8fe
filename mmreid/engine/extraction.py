from typing import Any, Protocol, cast

import torch
from mmengine.dataset import default_collate
from mmengine.dist import all_gather, get_dist_info
from mmengine.model import BaseModel, is_model_wrapper
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from mmreid.errors import InputError
from mmreid.structures import FeatureSet
from mmreid.structures.batch_info import UNKNOWN_PERSON
from mmreid.utils.progress import progress

# What is kept of each image, the first two where they are known.
_LABELS = ('person_id', 'camera_id', 'sample_idx')


class ImageSet(Protocol):
    """A data set that says of each image what it is.

    Those of this project do: :class:`mmreid.datasets.BaseReIDDataset`,
    :class:`mmreid.datasets.ImageList`, and a domain of a training.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, idx: int) -> Any: ...

    def get_data_info(self, idx: int) -> dict:
        """An entry, with its ``img_path``."""


@torch.no_grad()
def extract(
    model: nn.Module,
    images: ImageSet,
    domain: str | None = None,
    batch_size: int = 128,
    num_workers: int = 0,
    mode: str = 'tensor',
) -> FeatureSet:
    """Compute the features of images, in eval mode and with test transforms.

    In a distributed run each process computes a share, and all of them get
    the whole. Work that takes more than some seconds shows its progress. An
    image's feature does not depend on what else is extracted, to the last
    bit on a CPU, as long as that fills a batch (:func:`fill_batch`).

    Args:
        model (nn.Module): A model of this project, or its wrapper. Its mode
            is restored.
        images (ImageSet): A data set of this project, or a domain of a
            :class:`DomainDataset` (:meth:`DomainDataset.images`).
        domain (str, optional): Normalise as images of this domain are
            normalised in training. Defaults to None, as in testing.
        batch_size (int): Images per forward of a process. Defaults to 128.
        num_workers (int): Worker processes that load. Defaults to 0.
        mode (str): The mode of the model: 'tensor', or 'predict', which is
            what a test scores (with the model's ``flip_test``). Defaults to
            'tensor'.

    Returns:
        FeatureSet: ``features`` (N, D) float32 on the model's device, with
        ``paths``, and ``person_id`` and ``camera_id`` where they are known,
        in the order of the images.

    Raises:
        InputError: If there is no image, or a feature is not finite.
    """
    if not len(images):
        raise InputError('There is no image to extract features of.')
    inner: BaseModel = model.module if is_model_wrapper(model) else model
    rank, world_size = get_dist_info()
    num = len(images)
    # The same length on each rank: the last ones repeat the first.
    share = -(-num // world_size)
    indices = [(rank + i * world_size) % num for i in range(share)]
    # PyTorch asks for its own class, though it uses no more than these.
    dataset = cast(Dataset, images)
    loader = DataLoader(
        dataset if world_size == 1 else Subset(dataset, indices),
        batch_size,
        num_workers=num_workers,
        collate_fn=default_collate,
    )
    was_training = inner.training
    inner.eval()
    features, labels = [], []
    what = f'Features of {num} {f"{domain} " if domain else ""}images'
    try:
        with progress(what, len(loader)) as advance:
            for batch in loader:
                size = len(batch['inputs'])
                if share > batch_size:
                    fill_batch(batch, batch_size)
                batch['domain'] = domain
                data = inner.data_preprocessor(batch, False)
                samples = data['data_samples']
                if mode == 'predict':
                    (output,) = inner(data['inputs'], samples, mode='predict')
                    output = output['features']
                else:
                    output = inner(data['inputs'], mode='tensor')
                features.append(output[:size])
                known = [name for name in _LABELS if name in samples]
                labels.append(
                    torch.stack([samples[name][:size] for name in known], 1)
                )
                advance()
    finally:
        inner.train(was_training)

    def gather(shares: list[Tensor]) -> Tensor:
        rows = torch.cat(shares)
        if world_size == 1:
            return rows
        interleaved = torch.stack(all_gather(rows.contiguous()), 1)
        return interleaved.flatten(0, 1)[:num]

    columns = dict(zip(known, gather(labels).unbind(1), strict=True))
    index, person_id = columns['sample_idx'], columns.get('person_id')
    if person_id is not None and (person_id == UNKNOWN_PERSON).all():
        person_id = None
    # Not of the images asked for: one may stand in for an unreadable one.
    paths = [images.get_data_info(i)['img_path'] for i in index.tolist()]
    found = FeatureSet(
        gather(features),
        person_id,
        columns.get('camera_id'),
        paths,
    )
    bad = (~found.features.isfinite().all(1)).nonzero().flatten()
    if len(bad):
        raise InputError(
            f'The features of {len(bad)} of {num} images are not finite, the '
            f"first of them of '{paths[bad[0]]}': the weights have diverged. "
            'Lower the learning rate, or take an earlier checkpoint.'
        )
    return found


def fill_batch(batch: dict, size: int) -> None:
    """Repeat the last image of a batch until it has ``size`` images.

    The kernels of a CPU, and with them the last bits of a feature, depend on
    the size of a batch, but not on what else is in it.

    Args:
        batch (dict): ``inputs`` (N, 3, H, W) and ``data_samples``, a dict of
            tensors (N, ...); changed in place.
        size (int): Images that it shall have; a batch of more stays as it
            is.
    """
    num = len(batch['inputs'])
    if num >= size:
        return
    index = torch.arange(size).clamp(max=num - 1)
    batch['inputs'] = batch['inputs'][index]
    batch['data_samples'] = {
        name: values[index] for name, values in batch['data_samples'].items()
    }

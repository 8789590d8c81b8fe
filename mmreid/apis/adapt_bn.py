import copy
from typing import cast

import torch
from mmengine.dataset import default_collate
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, Dataset

from mmreid.engine.extraction import ImageSet
from mmreid.errors import InputError
from mmreid.models import BaseReID
from mmreid.utils.progress import progress


@torch.no_grad()
def adapt_bn(
    model: BaseReID,
    images: ImageSet,
    batch_size: int = 64,
    num_workers: int = 0,
    seed: int = 0,
) -> BaseReID:
    """Re-estimate the batch norms' statistics, and train nothing.

    The control that every claim about adaptation has to beat: a part of what
    looks like learning on the target is its normalisation statistics. Batch
    norms that the model's feature does not pass, such as those of TJ-AIDL's
    other branch, stay as they are.

    Args:
        model (BaseReID): A model of this project; changed in place and left
            in eval mode.
        images (ImageSet): The images, such as ``DomainDataset.images(
            'target')``. Their labels are not read.
        batch_size (int): Images per forward; the statistics are averaged
            over batches. Defaults to 64.
        num_workers (int): Worker processes that load. Defaults to 0.
        seed (int): Seed of the order, which mixes the cameras in a batch.
            Defaults to 0.

    Returns:
        BaseReID: The model.

    Raises:
        InputError: If the images fill no batch, or a batch is of one image.
    """
    if batch_size < 2:
        raise InputError(
            f'Statistics of a batch of {batch_size} image cannot be taken: '
            'give two images at least.'
        )
    if len(images) < batch_size:
        raise InputError(
            f'{len(images)} images fill no batch of {batch_size}, so there '
            'are no statistics to take: give more images or a smaller '
            'batch_size.'
        )
    loader = DataLoader(
        cast(Dataset, images),
        batch_size,
        shuffle=True,
        generator=torch.Generator().manual_seed(seed),
        num_workers=num_workers,
        collate_fn=default_collate,
        drop_last=True,
    )
    model.train()
    # Those that a config keeps in eval mode stay as they are.
    norms = [
        m for m in model.modules() if isinstance(m, _BatchNorm) and m.training
    ]
    before = [copy.deepcopy(norm) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain average over batches
    with progress('Statistics of the batch norms', len(loader)) as advance:
        for batch in loader:
            model(**model.data_preprocessor(batch, False))
            advance()
    for norm, old in zip(norms, before, strict=True):
        norm.momentum = old.momentum
        if norm.num_batches_tracked == 0:
            norm.load_state_dict(old.state_dict())
    return model.eval()

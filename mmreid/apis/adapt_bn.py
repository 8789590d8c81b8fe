import torch
from mmengine.dataset import default_collate
from mmpretrain.engine.hooks.precise_bn_hook import update_bn_stats
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset


def adapt_bn(
    model: nn.Module,
    dataset: Dataset,
    indices: range | None = None,
    batch_size: int = 64,
    num_workers: int = 0,
    seed: int = 0,
) -> nn.Module:
    """Re-estimate the batch norms' statistics, and train nothing.

    The control that every claim about adaptation has to beat: a part of what
    looks like learning on the target is its normalisation statistics.

    Args:
        model (nn.Module): A model of this project; changed in place and left
            in eval mode.
        dataset (Dataset): The images, whose labels are not read.
        indices (range, optional): Which of them, e.g.
            ``CrossDomainDataset.domains['target']``. Defaults to None, all.
        batch_size (int): Images per forward; the statistics are averaged
            over batches. Defaults to 64.
        num_workers (int): Worker processes that load. Defaults to 0.
        seed (int): Seed of the order, which mixes the cameras in a batch.
            Defaults to 0.

    Returns:
        nn.Module: The model.
    """
    if indices is not None:
        dataset = Subset(dataset, indices)
    loader = DataLoader(
        dataset,
        batch_size,
        shuffle=True,
        generator=torch.Generator().manual_seed(seed),
        num_workers=num_workers,
        collate_fn=default_collate,
        drop_last=True,
    )
    model.train()
    update_bn_stats(model, loader, len(dataset), logger='silent')
    return model.eval()

from mmengine.config import Config
from torch.utils.data import Dataset

from mmreid.errors import InputError
from mmreid.registry import DATASETS
from mmreid.utils import use_validation


def target_images(
    cfg: Config, val: bool = False
) -> tuple[Dataset, str | None]:
    """The images of a config's target that a training sees, for diagnostics.

    They bring their persons, which the training erases, where anybody knows
    them and they are more than one.

    Args:
        cfg (Config): The config.
        val (bool): The validation identities in their place; ``cfg`` is
            changed. Defaults to False.

    Returns:
        tuple[Dataset, str | None]: The images, and the domain as which
        :func:`mmreid.apis.extract` normalises them.

    Raises:
        FileNotFoundError: If files of the data set are missing.
        InputError: If the config has no target, or no validation.
    """
    if val:
        use_validation(cfg)
        return DATASETS.build(cfg.test_dataloader.dataset), None
    data = cfg.train_dataloader.dataset
    if not data.get('target'):
        raise InputError(
            f"'{cfg.filename}' has no target, so there are no unlabelled "
            'images to look at: name a config with a target.'
        )
    unlabelled = DATASETS.build(
        dict(type=data.type, pipeline=data.get('pipeline'), target=data.target)
    )
    try:
        labelled = unlabelled.labelled('target')
    except InputError:  # nobody knows them
        return unlabelled.images('target'), 'target'
    return labelled.images('target'), 'target'

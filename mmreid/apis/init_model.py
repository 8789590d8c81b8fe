import copy

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint

from mmreid.errors import InputError
from mmreid.models import BaseReID
from mmreid.registry import DATASETS, MODELS
from mmreid.utils import read_config
from mmreid.utils.logging import warnings_only


def usable_device(device: str | torch.device) -> torch.device:
    """A device, if this machine has it.

    Raises:
        InputError: If it has not, or there is no such kind.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    # CUDA's own errors are RuntimeErrors, a build without it asserts.
    except (RuntimeError, AssertionError) as error:
        first, *_ = str(error).splitlines()
        raise InputError(
            f"The device '{device}' cannot be used: {first} Name another, "
            "such as 'cpu'."
        ) from error
    return found


def init_model(
    config: str | Config,
    checkpoint: str | None = None,
    device: str | torch.device = 'cpu',
) -> BaseReID:
    """Build the model of a config and load its weights, strictly.

    Args:
        config (str | Config): The config, or its path, ``CONFIG.py`` or
            ``CONFIG.py:ROW`` (:func:`mmreid.utils.read_config`).
        checkpoint (str, optional): The checkpoint. Defaults to None: the
            weights that the config starts from (``init_cfg``).
        device (str): Where the model goes. Defaults to 'cpu'.

    Returns:
        BaseReID: The model in eval mode.

    Raises:
        FileNotFoundError: If the config or the checkpoint does not exist.
        InputError: If the checkpoint is damaged or of another model, or if
            this machine has no such device.
    """
    if not isinstance(config, Config):
        config = read_config(config)
    device = usable_device(device)
    cfg = copy.deepcopy(config.model)
    if checkpoint:
        # It has all weights: others need not be downloaded.
        cfg.backbone.pop('init_cfg', None)
    with DefaultScope.overwrite_default_scope('mmreid'):
        model = MODELS.build(cfg)
        if checkpoint:
            load_checkpoint(model, checkpoint, map_location='cpu')
        else:
            with warnings_only():
                model.init_weights()
            measure_images(model, config.get('train_dataloader'))
    return model.to(device).eval()


def measure_images(model: BaseReID, train_dataloader: dict | None) -> None:
    """Let a model that nothing was trained of know its images' statistics.

    Only where the config has them measured (``measured_on`` of
    :class:`ReIDDataPreprocessor`); a training does so as it begins, and a
    checkpoint has them.

    Args:
        model (BaseReID): The model, changed in place.
        train_dataloader (dict, optional): That of the config.

    Raises:
        InputError: If the config has no such images.
    """
    measured_on = getattr(model.data_preprocessor, 'measured_on', None)
    if measured_on is None:
        return
    if not train_dataloader:
        raise InputError(
            'model.data_preprocessor is measured_on the domain '
            f'{measured_on!r}, but the config has no train_dataloader: name '
            'a checkpoint, which has its numbers.'
        )
    with DefaultScope.overwrite_default_scope('mmreid'):
        dataset = DATASETS.build(train_dataloader['dataset'])
    model.data_preprocessor.measure(dataset.images(measured_on))

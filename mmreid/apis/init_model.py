import copy

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint

from mmreid.models import BaseReID
from mmreid.registry import MODELS
from mmreid.utils import read_config
from mmreid.utils.logging import warnings_only


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
        InputError: If the checkpoint is damaged or of another model.
    """
    if not isinstance(config, Config):
        config = read_config(config)
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
    return model.to(device).eval()

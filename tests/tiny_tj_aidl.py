"""TJ-AIDL at a size that trains in a second, on the data of ``tiny_mar``."""

import os.path as osp

import numpy as np
import tiny_mar
from mmengine.config import Config
from scipy.io import savemat

from mmreid.datasets.attributes import FIELDS

NUM_ATTRIBUTES = 27
# The adaptation begins at 8; checkpoints are at 4, 8, 12 and the end.
ADAPT, END = 8, 14


def write_attributes(file: str) -> None:
    """``market_attribute.mat`` of the source's persons, one value unknown."""
    index = np.empty(tiny_mar.SOURCE_IDS, object)
    index[:] = [f'{person + 1:04d}' for person in range(len(index))]
    rng = np.random.default_rng(0)
    part = {
        field: rng.integers(1, 3, len(index)) for field in FIELDS['market']
    }
    part['hat'][2] = 0
    part['image_index'] = index
    savemat(file, dict(market_attribute=dict(train=part, test=part)))


def tiny_config(root: str, work_dir: str, **changes) -> Config:
    """A whole training with three stages, 4 + 4 + 6 iterations.

    Args:
        root (str): Where :func:`tiny_mar.write_benchmark` wrote.
        work_dir (str): For logs, checkpoints, and beside it the attributes.
        **changes: Merged into the config; in names, ``__`` stands for a dot.
    """
    file = osp.join(osp.dirname(work_dir), 'market_attribute.mat')
    if not osp.exists(file):
        write_attributes(file)
    cfg = tiny_mar.tiny_config(root, work_dir)
    del cfg.default_hooks['pair_mining']
    cfg.default_hooks.checkpoint.interval = 4
    cfg.model_wrapper_cfg.find_unused_parameters = True
    cfg.train_dataloader.dataset.source.attribute_file = file
    adam = dict(type='Adam', lr=0.002, betas=(0.5, 0.999))
    cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=adam)
    cfg.train_cfg.order = ['identity', 'joint', 'adapt']
    cfg.train_cfg.stages = dict(
        identity=dict(batch_size=dict(source=8), max_iters=4),
        joint=dict(batch_size=dict(source=8), max_iters=4),
        adapt=dict(batch_size=dict(target=8), max_iters=6),
    )
    cfg.model = dict(
        type='TJAIDL',
        data_preprocessor=cfg.model.data_preprocessor,
        backbone=dict(
            type='mmpretrain.ResNet',
            depth=18,
            stem_channels=4,
            base_channels=4,
        ),
        num_identities=tiny_mar.SOURCE_IDS,
        num_attributes=NUM_ATTRIBUTES,
        head=dict(type='IIAHead', hidden_channels=(16, 12)),
    )
    cfg.merge_from_dict(
        {key.replace('__', '.'): value for key, value in changes.items()}
    )
    return cfg

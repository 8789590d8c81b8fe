import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from tiny_mar import train
from torch import nn

from mmreid.engine import MiningPurityHook


class Runner:
    """The parts of a runner that the hook touches."""

    def __init__(self, num_images, pairs):
        self.train_loop = ConfigDict(
            dataset=dict(num_target_images=num_images)
        )
        self.message_hub = MessageHub(f'purity{id(self)}')
        self.model = nn.Identity()
        self.model.mined_pairs = pairs


@pytest.fixture
def dataset(tmp_path):
    """Four images: persons 0, 0, 1, 1 in sorted order."""
    folder = tmp_path / 'bounding_box_train'
    folder.mkdir()
    for name in ('0007_c1s1_1_1', '0007_c2s1_1_1') + (
        '0009_c1s1_1_1',
        '0009_c2s1_1_1',
    ):
        cv2.imwrite(f'{folder}/{name}.png', np.zeros((4, 2, 3), np.uint8))
    return dict(type='Market1501', data_root=str(tmp_path))


def logged(runner):
    return {
        key: float(buffer.current())
        for key, buffer in runner.message_hub.log_scalars.items()
    }


def pairs(*rows):
    first, second, positive = zip(*rows, strict=True)
    return (
        torch.tensor(first),
        torch.tensor(second),
        torch.tensor(positive, dtype=torch.bool),
    )


def test_purity(dataset):
    runner = Runner(
        4,
        pairs(
            (0, 1, 1), (2, 3, 1), (1, 2, 1), (3, 2, 1), (0, 1, 0), (0, 3, 0)
        ),
    )
    hook = MiningPurityHook(dataset)
    hook.before_train(runner)
    outputs = dict(mined_positives=torch.tensor(4.0))
    hook.after_train_iter(runner, 0, outputs=outputs)
    expected = {'train/purity_positives': 75, 'train/purity_negatives': 50}
    assert logged(runner) == expected
    # Without positives, theirs is not defined.
    runner.model.mined_pairs = pairs((0, 1, 0))
    hook.after_train_iter(runner, 1, outputs=outputs)
    expected['train/purity_negatives'] = 100
    assert logged(runner) == expected
    # An iteration that mines nothing has old pairs.
    runner.model.mined_pairs = pairs((0, 2, 1), (0, 2, 0))
    for outputs in (None, {}, dict(loss_al=torch.tensor(1.0))):
        hook.after_train_iter(runner, 2, outputs=outputs)
    assert logged(runner) == expected


def test_labels_are_read_though_the_config_says_unlabelled(dataset):
    hook = MiningPurityHook(dict(dataset, labelled=False))
    hook.before_train(Runner(4, None))
    assert hook.person_id.tolist() == [0, 0, 1, 1]


def test_another_data_set(dataset):
    with pytest.raises(ValueError, match='has 4 images.*has 5'):
        MiningPurityHook(dataset).before_train(Runner(5, None))


def test_in_a_training(tiny_config, benchmark):
    target = dict(type='Market1501', data_root=f'{benchmark}/target')
    hook = dict(type='MiningPurityHook', dataset=target)
    runner = train(tiny_config(custom_hooks=[hook]))
    scalars = runner.message_hub.log_scalars
    # One epoch of the main stage does not mine, the two others do.
    for name in ('positives', 'negatives'):
        _, counts = scalars[f'train/purity_{name}'].data
        assert 0 < len(counts) <= 6
    assert len(scalars['train/mined_positives'].data[0]) == 6
    assert not isinstance(runner.model, MMDistributedDataParallel)

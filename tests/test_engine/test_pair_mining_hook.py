import cv2
import numpy as np
import pytest
import tiny_tj_aidl
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from tiny_mar import BOUNDARY, END, MINING, train
from torch import nn

from mmreid.datasets import DomainDataset
from mmreid.engine import PairMiningHook


class Miner(nn.Module):
    """What the hook needs of an algorithm."""

    mined_pairs = None

    def mine(self, enabled):
        self.mining = enabled


class Runner:
    """The parts of a runner that the hook touches."""

    def __init__(self, dataset, pairs):
        self.train_loop = ConfigDict()
        self.train_loop.dataset = dataset
        self.message_hub = MessageHub(f'purity{id(self)}')
        self.model = Miner()
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
    market = dict(type='Market1501', data_root=str(tmp_path))
    return DomainDataset(target=dict(market, labelled=False))


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
        dataset,
        pairs(
            (0, 1, 1), (2, 3, 1), (1, 2, 1), (3, 2, 1), (0, 1, 0), (0, 3, 0)
        ),
    )
    hook = PairMiningHook(purity=True)
    hook.before_train(runner)
    # The training's own data set has no labels.
    assert (dataset.person_ids('target') == -1).all()
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


def test_no_labels_are_read_unless_asked_for(dataset, monkeypatch):
    monkeypatch.delattr(DomainDataset, 'labelled')
    runner = Runner(dataset, pairs((0, 1, 1)))
    hook = PairMiningHook()
    hook.before_train(runner)
    outputs = dict(mined_positives=torch.tensor(1.0))
    hook.after_train_iter(runner, 0, outputs=outputs)
    assert logged(runner) == {}


@pytest.mark.parametrize('start_epoch', [0, 1, 2])
def test_when_mining_starts(tiny_config, start_epoch):
    runner = train(
        tiny_config(default_hooks__pair_mining__start_epoch=start_epoch)
    )
    counts = runner.message_hub.log_scalars['train/mined_positives'].data[0]
    # Epochs of three iterations, counted from the start of the stage.
    assert MINING - BOUNDARY == 3
    assert len(counts) == END - BOUNDARY - 3 * start_epoch


def test_in_a_training(tiny_config):
    runner = train(tiny_config(default_hooks__pair_mining__purity=True))
    scalars = runner.message_hub.log_scalars
    # One epoch of the main stage does not mine, the two others do.
    for name in ('positives', 'negatives'):
        _, counts = scalars[f'train/purity_{name}'].data
        assert 0 < len(counts) <= 6
    assert len(scalars['train/mined_positives'].data[0]) == 6
    assert not isinstance(runner.model, MMDistributedDataParallel)


def test_an_algorithm_that_mines_no_pairs(benchmark, tmp_path):
    cfg = tiny_tj_aidl.tiny_config(
        benchmark,
        str(tmp_path / 'run'),
        custom_hooks=[dict(type='PairMiningHook')],
    )
    with pytest.raises(ValueError, match='TJAIDL mines no pairs: leave'):
        train(cfg)

from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from mmreid.engine import SyncNormStatsHook


class Model(nn.Module):
    def __init__(self, rank):
        super().__init__()
        self.norm = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm1d(2))
        self.free = nn.BatchNorm2d(3, track_running_stats=False)
        self.other = nn.InstanceNorm2d(3, track_running_stats=True)
        self.register_buffer('memory', torch.zeros(4))
        with torch.no_grad():
            for i, value in enumerate(self.state_dict().values()):
                value.fill_(10 * i + 3 * rank)


def sync(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    model = Model(rank)
    SyncNormStatsHook().after_train_iter(SimpleNamespace(model=model), 0)
    torch.save(model.state_dict(), f'{folder}/{rank}.pth')
    # A model without batch norm has nothing to reduce.
    SyncNormStatsHook().after_train_iter(
        SimpleNamespace(model=nn.Linear(1, 1)), 0
    )
    dist.destroy_process_group()


def test_averages_batch_norm_statistics_only(tmp_path):
    mp.start_processes(sync, (str(tmp_path),), 2, start_method='fork')
    before = [Model(rank).state_dict() for rank in range(2)]
    averaged = set()
    for rank in range(2):
        after = torch.load(tmp_path / f'{rank}.pth', weights_only=True)
        assert after.keys() == before[rank].keys()
        for key, value in after.items():
            mean = (before[0][key] + before[1][key]) / 2
            if key.startswith('norm.') and 'running' in key:
                averaged.add(key)
                assert torch.equal(value, mean), key
            else:
                assert torch.equal(value, before[rank][key]), key
    assert len(averaged) == 4


@pytest.mark.parametrize('model', [Model(0), nn.Linear(1, 1)])
def test_single_process_changes_nothing(model):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    SyncNormStatsHook().after_train_iter(SimpleNamespace(model=model), 0)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])

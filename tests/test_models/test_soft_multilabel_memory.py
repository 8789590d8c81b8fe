import mar_reference as ref
import pytest
import torch
from mmengine.runner.checkpoint import load_state_dict

from mmreid.models.memories import SoftMultilabelMemory


def memory_of(num_images, num_persons=4, visits=()):
    memory = SoftMultilabelMemory().double()
    memory.allocate(num_images, num_persons)
    for step, index in enumerate(visits):
        labels = ref.double(len(index), num_persons, seed=step).softmax(1)
        memory.update(torch.tensor(index), labels)
    return memory


def test_update_over_steps():
    memory, slow = memory_of(6), ref.Memory()
    visits = [[0, 3, 5], [3, 1, 2], [5, 3, 0], [3, 0, 1]]
    for step, index in enumerate(visits):
        labels = ref.double(3, 4, seed=step).softmax(1)
        used = memory.update(torch.tensor(index), labels)
        ref.close(used, torch.stack(slow.update(index, labels)))
    # Image 4 was never seen.
    assert memory.visited.tolist() == [True] * 4 + [False, True]
    for index, row in slow.rows.items():
        ref.close(memory.rows[index], row)
    assert not memory.rows[4].any()
    ref.close(memory.rows[[0, 1]].sum(1), torch.ones(2).double())


def test_momentum():
    memory = SoftMultilabelMemory(momentum=0.5)
    memory.allocate(1, 2)
    index = torch.tensor([0])
    memory.update(index, torch.tensor([[1.0, 0.0]]))
    used = memory.update(index, torch.tensor([[0.0, 1.0]]))
    assert used.tolist() == [[0.5, 0.5]]


def test_no_gradient():
    memory = memory_of(3)
    labels = ref.double(2, 4).softmax(1).requires_grad_()
    assert not memory.update(torch.tensor([0, 2]), labels).requires_grad
    assert not memory.rows.requires_grad


def strictly(module, state_dict):
    module.load_state_dict(state_dict, strict=True)


def by_mmengine(module, state_dict):
    load_state_dict(module, state_dict, strict=True)


@pytest.fixture(params=[strictly, by_mmengine])
def load(request):
    return request.param


def test_resume(load):
    memory = memory_of(5, visits=[[0, 2], [2, 4]])
    resumed = memory_of(5)
    load(resumed, memory.state_dict())
    assert torch.equal(resumed.rows, memory.rows)
    assert torch.equal(resumed.visited, memory.visited)


@pytest.mark.parametrize('size', [(6, 4), (5, 3)])
def test_memory_of_another_size(load, size):
    state_dict = memory_of(5, visits=[[0]]).state_dict()
    with pytest.raises(ValueError, match='5 target images x 4 reference'):
        load(memory_of(*size), state_dict)


@pytest.mark.parametrize('size', [(6, 4), (5, 3), (0, 0)])
def test_checkpoint_of_the_pretraining_fits_any_target(load, size):
    memory = memory_of(*size)
    load(memory, memory_of(5).state_dict())
    assert memory.rows.shape == size
    assert not memory.visited.any()


def test_checkpoint_of_the_pretraining_forgets_visits(load):
    memory = memory_of(5, visits=[[1]])
    load(memory, memory_of(5).state_dict())
    labels = ref.double(1, 4).softmax(1)
    assert torch.equal(memory.update(torch.tensor([1]), labels), labels)


def test_testing_needs_no_memory(load):
    parent = torch.nn.ModuleDict(dict(memory=SoftMultilabelMemory()))
    trained = torch.nn.ModuleDict(dict(memory=memory_of(5, visits=[[0]])))
    state_dict = trained.state_dict()
    load(parent, state_dict)
    assert len(parent['memory'].rows) == 0
    # The caller's checkpoint is not emptied.
    assert 'memory.rows' in state_dict

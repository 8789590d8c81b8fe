import pytest
import torch
import torch.nn.functional as F

from mmreid.models import ClusterMemory


def units(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator).double())


def started(**options):
    memory = ClusterMemory(**options).double()
    labels = torch.tensor([0, 1, 2, 0, -1, 2, 1, 0])
    memory.start(units(8, 5), labels)
    return memory, units(8, 5), labels


def test_rows_start_as_mean_directions():
    memory, features, labels = started()
    for k in range(3):
        mean = features[labels == k].sum(0)
        expected = mean / mean.square().sum().sqrt()
        torch.testing.assert_close(memory.rows[k], expected)


@pytest.mark.parametrize('momentum', [0, 0.1, 0.8, 1])
def test_images_move_rows_one_after_the_other(momentum):
    memory, _, _ = started(momentum=momentum)
    rows = [row.clone() for row in memory.rows]
    features, labels = units(6, 5, seed=1), torch.tensor([2, 0, 2, 2, 0, 2])
    memory.update(features, labels)
    for feature, label in zip(features, labels, strict=True):
        moved = momentum * rows[label] + (1 - momentum) * feature
        rows[label] = moved / (moved @ moved).sqrt()
    torch.testing.assert_close(memory.rows, torch.stack(rows))


def test_logits_are_cosines_over_the_temperature():
    memory, _, _ = started(temperature=0.2)
    features = units(2, 5, seed=3)
    for i, j in ((0, 0), (1, 2)):
        expected = sum(features[i, d] * memory.rows[j, d] for d in range(5))
        torch.testing.assert_close(memory(features)[i, j], expected / 0.2)


def test_moving_leaves_the_gradient():
    memory, _, _ = started()
    features = units(4, 5, seed=2).requires_grad_()
    labels = torch.tensor([0, 1, 1, 2])
    rows = memory.rows.clone()
    loss = F.cross_entropy(memory(features), labels)
    memory.update(features.detach(), labels)
    loss.backward()
    again = features.detach().clone().requires_grad_()
    F.cross_entropy(again @ rows.T / 0.05, labels).backward()
    torch.testing.assert_close(features.grad, again.grad)
    assert not torch.equal(memory.rows, rows)


def test_checkpoint_brings_its_number_of_clusters():
    memory, _, _ = started()
    other = ClusterMemory().double()
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.rows, memory.rows)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(temperature=0), 'temperature of ClusterMemory must be above 0'),
        (dict(momentum=1.5), r'momentum of ClusterMemory must be in \[0, 1\]'),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        ClusterMemory(**options)

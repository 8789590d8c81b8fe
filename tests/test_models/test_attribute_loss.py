import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmreid.models import AttributeLoss


def slow_loss(logits, labels):
    """Eq. 2 as two loops over plain numbers."""
    total = 0.0
    for logit_row, label_row in zip(logits, labels, strict=True):
        for logit, a in zip(logit_row, label_row, strict=True):
            if a >= 0:
                p = 1 / (1 + math.exp(-logit))
                total -= a * math.log(p) + (1 - a) * math.log(1 - p)
    return total / len(logits)


def rows(values, num, m):
    return st.lists(
        st.lists(values, min_size=m, max_size=m), min_size=num, max_size=num
    )


@st.composite
def batches(draw):
    num, m = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    logits = draw(rows(st.floats(-9, 9), num, m))
    values = draw(
        st.sampled_from([st.sampled_from([-1, 0, 1]), st.floats(0, 1)])
    )
    return logits, draw(rows(values, num, m))


@settings(max_examples=60, deadline=None)
@given(batches())
def test_equals_the_equation(batch):
    logits, labels = batch
    tensor = torch.tensor(logits).double().requires_grad_()
    loss = AttributeLoss()(tensor, torch.tensor(labels))
    (grad,) = torch.autograd.grad(loss, tensor)
    assert loss.item() == pytest.approx(slow_loss(logits, labels), abs=1e-6)
    for logit_row, label_row, grad_row in zip(
        logits, labels, grad.tolist(), strict=True
    ):
        for logit, a, g in zip(logit_row, label_row, grad_row, strict=True):
            expected = (1 / (1 + math.exp(-logit)) - a) * (a >= 0)
            assert g == pytest.approx(expected / len(logits), abs=1e-6)


def test_unknown_attributes_change_nothing():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1]])
    loss = AttributeLoss()(logits, labels)
    more = torch.cat([logits, 99 * torch.ones(3, 2)], 1)
    unknown = torch.cat([labels, torch.full((3, 2), -1)], 1)
    assert torch.equal(AttributeLoss()(more, unknown), loss)


def test_nothing_known():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = AttributeLoss()(logits, torch.full((2, 3), -1))
    loss.backward()
    assert loss == 0 and not logits.grad.any()


def test_own_probabilities_have_no_gradient():
    """Exactly: also where a kernel takes another path for the last ones."""
    for m in range(1, 40):
        logits = (9 * torch.randn(8, m)).requires_grad_()
        AttributeLoss()(logits, logits.detach().sigmoid()).backward()
        assert not logits.grad.any(), m


def test_large_logits_are_finite():
    logits = torch.tensor([[500.0, -500.0]])
    assert AttributeLoss()(logits, torch.tensor([[0, 1]])) == 1000


def test_other_number_of_attributes():
    with pytest.raises(ValueError, match=r'\(2, 30\).*\(2, 27\).*num_attri'):
        AttributeLoss()(torch.zeros(2, 27), torch.zeros(2, 30))

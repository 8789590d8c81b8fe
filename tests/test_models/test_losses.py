import mar_reference as ref
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmreid.models.losses import (
    BatchHardTripletLoss,
    CMLLoss,
    CrossEntropyLoss,
    MDLLoss,
    RJLoss,
    SquaredDistanceLoss,
    camera_statistics,
)
from mmreid.models.memories import CameraReferences

few = settings(max_examples=25, deadline=None, derandomize=True)


# L_MDL, Eq. 4


@pytest.mark.parametrize(
    'positive',
    [
        [True, False, False, True, False],
        [False] * 5,
        [True] * 5,
        [],
    ],
    ids=['both', 'no positive', 'no negative', 'no pair'],
)
def test_mdl(positive):
    pairs = [(0, 3), (1, 2), (0, 1), (4, 5), (3, 5)][: len(positive)]
    first, second = torch.tensor(pairs, dtype=torch.long).view(-1, 2).t()
    mask = torch.tensor(positive, dtype=torch.bool)

    def ours(raw):
        return MDLLoss()(F.normalize(raw), first, second, mask)

    def reference(raw):
        return ref.mdl_loss(
            ref.unit(raw),
            [
                pair
                for pair, above in zip(pairs, positive, strict=True)
                if above
            ],
            [
                pair
                for pair, above in zip(pairs, positive, strict=True)
                if not above
            ],
        )

    ref.assert_same(ours, reference, ref.double(6, 4))


def test_mdl_by_hand():
    # Squared distances 2 (positive) and 4 (negative).
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    loss = MDLLoss()(
        features,
        torch.tensor([0, 0]),
        torch.tensor([1, 2]),
        torch.tensor([True, False]),
    )
    # -log(e^-2 / (e^-2 + e^-4)) = log(1 + e^-2)
    torch.testing.assert_close(loss, torch.tensor(0.1269280))


# L_CML, Eq. 6


class MovingCML(CameraReferences):
    """The references, and the loss as MAR takes it: after their move."""

    def forward(self, log_labels, camera_id, batch_size):
        statistics = camera_statistics(log_labels, camera_id)
        self.move(statistics, batch_size)
        return CMLLoss()(statistics, self.mean, self.std)


def initialised_cml(num_persons):
    log_labels = ref.double(9, num_persons, seed=99).log_softmax(1)
    cameras = [0, 0, 0, 1, 1, 1, 1, 2, 5]
    loss = MovingCML().double()
    loss.init(log_labels, torch.tensor(cameras))
    return loss, log_labels, cameras


def test_cml_initial_references():
    loss, log_labels, cameras = initialised_cml(4)
    # Cameras 2 and 5 have one image and are skipped.
    mean, std = ref.mean_over_cameras(
        ref.camera_statistics(log_labels, cameras)
    )
    ref.close(loss.mean, mean)
    ref.close(loss.std, std)


def test_cml_initial_references_do_not_depend_on_the_order():
    loss, log_labels, cameras = initialised_cml(4)
    again = MovingCML().double()
    again.init(log_labels.flip(0), torch.tensor(cameras).flip(0))
    ref.close(again.mean, loss.mean)
    ref.close(again.std, loss.std)


def test_cml_initial_references_need_a_camera_with_two_images():
    with pytest.raises(ValueError, match='at least two target images'):
        MovingCML().init(torch.zeros(3, 4), torch.arange(3))


@few
@example([0, 0, 0, 0, 0], 0)
@example([0, 1, 2, 3], 0)
@example([2, 0, 2, 0, 1, 0], 0)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.integers(0, 9))
def test_cml_over_steps(cameras, seed):
    loss, *_ = initialised_cml(4)
    mean, std = loss.mean.clone(), loss.std.clone()
    batch_size = 3 * len(cameras)
    for step in range(3):
        logits = ref.double(len(cameras), 4, seed=1 + seed + 10 * step)
        leaf = logits.clone().requires_grad_()
        value = loss(leaf.log_softmax(1), torch.tensor(cameras), batch_size)
        (grad,) = torch.autograd.grad(value, leaf)
        leaf = logits.clone().requires_grad_()
        value_ref, mean, std = ref.cml_step(
            leaf.log_softmax(1), cameras, mean, std, batch_size / 10000
        )
        (grad_ref,) = torch.autograd.grad(value_ref, leaf)
        ref.close(value, value_ref)
        ref.close(grad, grad_ref)
        ref.close(loss.mean, mean)
        ref.close(loss.std, std)


def cml_of_batch(log_labels, camera_id):
    """As MAR takes it without running references."""
    statistics = camera_statistics(log_labels, camera_id)
    whole = camera_statistics(log_labels, torch.zeros_like(camera_id))
    return CMLLoss()(statistics, whole.mean, whole.std)


@few
@example([0, 0, 0, 0, 0], 0)
@example([0, 1, 2, 3], 0)
@example([0], 0)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.integers(0, 9))
def test_cml_with_references_of_the_batch(cameras, seed):
    ref.assert_same(
        lambda x: cml_of_batch(x.log_softmax(1), torch.tensor(cameras)),
        lambda x: ref.cml_of_batch(x.log_softmax(1), cameras),
        ref.double(len(cameras), 4, seed=seed),
    )


def test_cml_without_usable_camera():
    loss, *_ = initialised_cml(4)
    mean, std = loss.mean.clone(), loss.std.clone()
    log_labels = ref.double(5, 4).log_softmax(1).requires_grad_()
    value = loss(log_labels, torch.arange(5), 368)
    value.backward()
    assert value == 0
    assert not log_labels.grad.any()
    assert torch.equal(loss.mean, mean)
    assert torch.equal(loss.std, std)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_cml_gradient_of_identical_images_is_finite(dtype):
    loss, *_ = initialised_cml(7)
    loss.to(dtype)
    mean, std = loss.mean.double().clone(), loss.std.double().clone()
    logits = ref.double(8, 7)
    # Three alike in camera 0, of which a third is not exact in binary.
    logits[:3] = logits[0]
    cameras = [0, 0, 0, 1, 1, 1, 2, 2]
    log_labels = logits.log_softmax(1).to(dtype).requires_grad_()
    value = loss(log_labels, torch.tensor(cameras), 16)
    value.backward()
    expected, *_ = ref.cml_step(
        log_labels.detach().double(), cameras, mean, std, 0.0016
    )
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(
        value.detach().double(), expected, rtol=tolerance, atol=0
    )
    # |d L / d y| stays of the size of the other images' gradients.
    assert log_labels.grad.isfinite().all()
    assert log_labels.grad[:3].abs().max() < 10


def test_cml_moves_references_by_the_whole_batch_before_the_loss():
    loss = MovingCML()
    loss.init(torch.zeros(2, 1), torch.zeros(2))
    log_labels = torch.tensor([[-1.0], [-3.0]], requires_grad=True)
    value = loss(log_labels, torch.zeros(2), batch_size=368)
    # Mean -2 and unbiased std sqrt(2), references at 0.0368 of the way.
    torch.testing.assert_close(loss.mean, torch.tensor([-2 * 0.0368]))
    torch.testing.assert_close(loss.std, torch.tensor([2**0.5 * 0.0368]))
    torch.testing.assert_close(
        value.detach(), torch.tensor((4 + 2) * (1 - 0.0368) ** 2 / 2)
    )
    assert not loss.mean.requires_grad and not loss.std.requires_grad


def test_cml_references_travel_in_the_state_dict():
    loss, *_ = initialised_cml(4)
    other = MovingCML().double()
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other.mean, loss.mean)
    assert torch.equal(other.std, loss.std)


# L_RJ, Eq. 8


def rj_ours(margin, ids):
    def ours(source, target, agents):
        # As the head does: the agents are detached.
        agents = F.normalize(agents.detach())
        return RJLoss(margin)(
            F.normalize(source) @ agents.t(),
            torch.tensor(ids),
            F.normalize(target) @ agents.t(),
        )

    return ours


def rj_reference(margin, ids):
    def reference(source, target, agents):
        return ref.rj_loss(
            ref.unit(source),
            ref.unit(target),
            ref.unit(agents),
            ids,
            margin,
        )

    return reference


@few
@given(st.integers(0, 99), st.sampled_from([0.3, 1.0, 1.7, 2.0]))
def test_rj(seed, margin):
    agents = ref.double(5, 3, seed=seed)
    noise = ref.double(9, 3, seed=seed + 100) / 2
    ids = [0, 4, 2, 2]
    source = agents[[0, 4, 2, 1]] + noise[:4]
    target = agents[[3, 3, 0, 1, 4]] + noise[4:]
    ref.assert_same(
        rj_ours(margin, ids),
        rj_reference(margin, ids),
        source,
        target,
        agents,
    )


def test_rj_without_near_agents():
    agents = torch.eye(6, dtype=torch.float64)
    source, target = -agents[[1, 5]], -agents[[2, 3]]
    ids = [1, 0]
    inputs = source + 0.01 * ref.double(2, 6), target, agents
    loss = rj_ours(1.0, ids)(*inputs)
    # Own agents only: an opposite one and an orthogonal one.
    torch.testing.assert_close(
        loss, torch.tensor((4 + 2) / 2, dtype=torch.float64), rtol=0.02, atol=0
    )
    ref.assert_same(rj_ours(1.0, ids), rj_reference(1.0, ids), *inputs)


def test_rj_by_hand():
    agents = torch.eye(2, dtype=torch.float64)
    source = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    # Near agent 0 only; near none.
    target = torch.tensor([[3.0, 0.0], [-1.0, -1.0]], dtype=torch.float64)
    loss = rj_ours(1.0, [0])(source, target, agents)
    # Own 2 - sqrt(2), other 1 - (2 - sqrt(2)), target 1: three terms.
    ref.close(loss, torch.tensor(2 / 3, dtype=torch.float64))


def test_rj_agent_at_the_margin_is_not_near():
    # cos = 0.5 exactly, so that the squared distance is m.
    cosine = torch.tensor([[0.0, 0.5]])
    loss = RJLoss(1.0)(cosine, torch.tensor([0]), cosine)
    assert loss == 2


def test_rj_identities_beyond_the_reference_persons():
    agents = ref.double(3, 4)
    ids = [0, 3, 7]
    # Two unknown persons, one of them at a reference agent.
    source = agents[[0, 1, 2]] + 0.1 * ref.double(3, 4, seed=1)
    target = agents[[1, 2]] + 0.1 * ref.double(2, 4, seed=2)
    ref.assert_same(
        rj_ours(1.0, ids), rj_reference(1.0, ids), source, target, agents
    )
    leaf = source.clone().requires_grad_()
    rj_ours(1.0, ids)(leaf, target, agents).backward()
    assert leaf.grad[0].any() and not leaf.grad[1:].any()


def test_rj_without_any_term():
    cosine = torch.zeros(2, 3, requires_grad=True)
    loss = RJLoss()(cosine, torch.tensor([3, 4]), cosine)
    loss.backward()
    assert loss == 0 and not cosine.grad.any()


# What every loss has


@pytest.mark.parametrize('weight', [0, 0.25, 7])
@pytest.mark.parametrize(
    'cls, arguments',
    [
        (CrossEntropyLoss, (torch.randn(4, 3), torch.tensor([0, 2, 1, 0]))),
        (
            BatchHardTripletLoss,
            (torch.randn(6, 3), torch.tensor([0, 0, 1, 1, 2, 2])),
        ),
        (SquaredDistanceLoss, (torch.randn(4, 3), torch.randn(4, 3))),
        (
            MDLLoss,
            (
                F.normalize(torch.randn(4, 3)),
                torch.tensor([0, 1]),
                torch.tensor([2, 3]),
                torch.tensor([True, False]),
            ),
        ),
        (
            RJLoss,
            (torch.rand(4, 3), torch.tensor([0, 1, 2, 0]), torch.rand(2, 3)),
        ),
        (
            CMLLoss,
            (
                camera_statistics(
                    torch.randn(4, 3), torch.tensor([0, 0, 1, 1])
                ),
                torch.zeros(3),
                torch.ones(3),
            ),
        ),
    ],
    ids=lambda x: getattr(x, '__name__', ''),
)
def test_weight(cls, arguments, weight):
    plain = cls()(*arguments)
    assert plain > 0
    torch.testing.assert_close(
        cls(loss_weight=weight)(*arguments), weight * plain
    )


# Softmax cross entropy with label smoothing


@few
@given(st.integers(1, 5), st.integers(2, 6), st.floats(0, 0.9))
def test_cross_entropy(num, num_classes, smoothing):
    logits = ref.double(num, num_classes, seed=num).requires_grad_()
    labels = torch.arange(num) % num_classes
    ours = CrossEntropyLoss(smoothing)(logits, labels)
    total = 0
    for row, label in zip(logits, labels.tolist(), strict=True):
        log_p = torch.log(torch.exp(row) / torch.exp(row).sum())
        for j in range(num_classes):
            q = smoothing / num_classes + (1 - smoothing) * (j == label)
            total = total - q * log_p[j]
    expected = total / num
    ref.close(ours, expected)
    ref.close(
        *(torch.autograd.grad(loss, logits)[0] for loss in (ours, expected))
    )


def test_cross_entropy_refuses_another_smoothing():
    with pytest.raises(ValueError, match=r'must be in \[0, 1\), but is 1.0'):
        CrossEntropyLoss(label_smoothing=1.0)


# Batch-hard triplets, Eq. 5 of its paper


def slow_triplet(features, labels, margin):
    terms = []
    for i, a in enumerate(features):
        positives, negatives = [], []
        for j, b in enumerate(features):
            distance = ((a - b) ** 2).sum() ** 0.5 if i != j else None
            if labels[i] != labels[j]:
                negatives.append(distance)
            elif i != j:
                positives.append(distance)
        if positives and negatives:
            x = max(positives) - min(negatives)
            if margin is None:
                terms.append(torch.log(1 + torch.exp(x)))
            else:
                terms.append(torch.clamp(margin + x, min=0))
    return sum(terms) / len(terms) if terms else 0 * features.sum()


@few
@example([0, 0, 0], 0.3, 1)
@example([0, 1, 2], 0.3, 1)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=9),
    st.sampled_from([None, 0.0, 0.3, 4.0]),
    st.integers(0, 9),
)
def test_triplet(labels, margin, seed):
    features = ref.double(len(labels), 5, seed=seed).requires_grad_()
    ours = BatchHardTripletLoss(margin)(features, torch.tensor(labels))
    expected = slow_triplet(features, labels, margin)
    ref.close(ours, expected)
    ref.close(
        *(torch.autograd.grad(loss, features)[0] for loss in (ours, expected))
    )


def test_triplet_of_equal_features_has_a_finite_gradient():
    features = torch.ones(4, 3, requires_grad=True)
    loss = BatchHardTripletLoss()(features, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(0.3)
    assert features.grad.isfinite().all()

import copy

import pytest
import torch
from tiny_mar import batch_info
from torch import nn

from mmreid.models import TJAIDL
from mmreid.registry import MODELS

NUM_IDENTITIES, NUM_ATTRIBUTES, CHANNELS = 6, 4, 7
ADAM = dict(lr=0.002, betas=(0.5, 0.999))
STAGES = ('identity', 'attribute', 'joint', 'adapt')
BRANCHES = dict(
    identity=('identity_backbone', 'identity_classifier'),
    iia=('head',),
    attribute=('backbone', 'attribute_classifier'),
)


@MODELS.register_module(force=True)
class AttributeTinyBackbone(nn.Module):
    def __init__(self):
        super().__init__()
        # The norm takes a bias away again.
        self.conv = nn.Conv2d(3, 5, 3, 2, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.end = nn.Conv2d(5, CHANNELS, 3)

    def forward(self, x):
        return (self.end(self.norm(self.conv(x)).relu()),)


class DoubleTJAIDL(TJAIDL):
    """TJAIDL in float64: the features are not cast."""

    def run_backbone(self, backbone, inputs):
        return self.neck(backbone(inputs)[-1])


def tj_aidl(cls=DoubleTJAIDL, **kwargs):
    torch.manual_seed(0)
    model = cls(
        **(
            dict(
                backbone=dict(type='AttributeTinyBackbone'),
                num_identities=NUM_IDENTITIES,
                num_attributes=NUM_ATTRIBUTES,
                head=dict(type='IIAHead', hidden_channels=(6, 5)),
            )
            | kwargs
        )
    )
    # Every term has a size to speak of.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return (model.double() if cls is DoubleTJAIDL else model).train()


def batch(stage, num=5, known='some', seed=1):
    """Images of 9 x 11, and attributes of which some are unknown."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high, *shape):
        return torch.randint(low, high, shape, generator=generator)

    attributes = dict(
        all=draw(0, 2, num, NUM_ATTRIBUTES),
        some=draw(-1, 2, num, NUM_ATTRIBUTES),
        none=torch.full((num, NUM_ATTRIBUTES), -1),
    )[known]
    samples = dict(
        person_id=draw(0, NUM_IDENTITIES, num),
        attributes=attributes,
    )
    if stage == 'adapt':
        # What is there of a target: neither may be read.
        samples['person_id'] = torch.full((num,), 10**6)
        samples['attributes'] = torch.full((num, NUM_ATTRIBUTES), -1)
    images = torch.randn(num, 3, 9, 11, generator=generator).double()
    domain = 'target' if stage == 'adapt' else 'source'
    return dict(samples, inputs=images), batch_info(stage, **{domain: num})


# The paper's equations, each a loop over images and attributes.


def pooled(backbone, images):
    return backbone(images)[0].mean((2, 3))


def identity_loss(logits, person_id):
    """Eq. 1."""
    terms = [
        -torch.log(torch.exp(row)[y] / torch.exp(row).sum())
        for row, y in zip(logits, person_id.tolist(), strict=True)
    ]
    return sum(terms) / len(terms)


def attribute_loss(logits, labels):
    """Eq. 2 and 5; an unknown attribute has no term."""
    total = 0 * logits.sum()
    for logit_row, label_row in zip(logits, labels, strict=True):
        for logit, a in zip(logit_row, label_row.tolist(), strict=True):
            if a != -1:
                p = 1 / (1 + torch.exp(-logit))
                total = total - a * torch.log(p)
                total = total - (1 - a) * torch.log(1 - p)
    return total / len(logits)


def distance(first, second, reduction):
    """Eq. 3 and 4, of each image, averaged over the batch."""
    terms = [
        ((a - b) * (a - b)).sum() for a, b in zip(first, second, strict=True)
    ]
    if reduction == 'mean':
        terms = [term / first.shape[1] for term in terms]
    return sum(terms) / len(terms)


def weighted(loss, first, second):
    """lambda times Eq. 3 or 4."""
    return loss.loss_weight * distance(first, second, loss.reduction)


def three_updates(model, data, stage, source=None):
    """Algorithm 1: each update on its own, all from the same start.

    Args:
        model (TJAIDL): As it is before the step; not changed.
        data (dict): The batch, images and labels.
        stage (str): 'joint' or 'adapt'.
        source (tuple, optional): Backbone and classifier of the soft labels
            of the stage 'adapt', in the mode in which they are run; None
            takes the current ones.

    Returns:
        tuple[dict]: Gradients, parameters after a step of Adam, and buffers,
        by name.
    """
    adapt, images = stage == 'adapt', data['inputs']

    def forward(net):
        """Of a fresh copy: identity feature and logits, attribute logits."""
        if adapt:
            net.identity_backbone.eval()
        x_id = pooled(net.identity_backbone, images)
        p_att = net.attribute_classifier(pooled(net.backbone, images))
        return x_id, net.identity_classifier(x_id), p_att

    labels = data['attributes']
    if adapt:
        with torch.no_grad():
            if source is None:
                _, _, labels = forward(copy.deepcopy(model))
            else:
                backbone, classifier = copy.deepcopy(source)
                labels = classifier(pooled(backbone, images))
            labels = 1 / (1 + torch.exp(-labels))

    def update_identity(net):
        _, logits, _ = forward(net)
        return identity_loss(logits, data['person_id'])

    def update_iia(net):
        with torch.no_grad():
            x_id, _, p_att = forward(net)
        embedding, reconstruction = net.head(x_id)
        return (
            attribute_loss(embedding, labels)
            + weighted(net.loss_rec, x_id, reconstruction)
            + weighted(net.loss_id_transfer, embedding, p_att)
        )

    def update_attribute(net):
        x_id, _, p_att = forward(net)
        with torch.no_grad():
            embedding, _ = net.head(x_id)
        return attribute_loss(p_att, labels) + weighted(
            net.loss_id_transfer, embedding, p_att
        )

    updates = dict(
        identity=update_identity, iia=update_iia, attribute=update_attribute
    )
    if adapt:
        del updates['identity']
    grads, parameters = {}, {}
    for name, loss in updates.items():
        net = copy.deepcopy(model)
        own = {
            key: parameter
            for key, parameter in net.named_parameters()
            if key.startswith(tuple(f'{part}.' for part in BRANCHES[name]))
        }
        values = torch.autograd.grad(loss(net), list(own.values()))
        optimizer = torch.optim.Adam(own.values(), **ADAM)
        for (key, parameter), value in zip(own.items(), values, strict=True):
            grads[key] = parameter.grad = value
        optimizer.step()
        parameters.update(own)
    net = copy.deepcopy(model)
    forward(net)
    return grads, parameters, dict(net.named_buffers())


def close(ours, reference, where, rtol=1e-7):
    torch.testing.assert_close(
        ours,
        reference,
        rtol=rtol,
        atol=1e-10 * max(1, reference.abs().max().item()),
        msg=lambda m: f'{where}: {m}',
    )


@pytest.mark.parametrize('lambdas', [(10, 10), (0.7, 3.0)])
@pytest.mark.parametrize('num, known', [(5, 'some'), (3, 'none'), (1, 'some')])
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize(
    'stage, soft_labels',
    [
        ('joint', 'source'),
        ('adapt', 'source'),
        ('adapt', 'target-bn'),
        ('adapt', 'online'),
    ],
)
def test_one_step_is_three_updates(
    stage, soft_labels, reduction, num, known, lambdas
):
    loss = dict(type='SquaredDistanceLoss', reduction=reduction)
    model = tj_aidl(
        soft_labels=soft_labels,
        loss_rec=dict(loss, loss_weight=lambdas[0]),
        loss_id_transfer=dict(loss, loss_weight=lambdas[1]),
    )
    source = None
    if stage == 'adapt' and soft_labels != 'online':
        model.prepare_stage('adapt', None)
        source = copy.deepcopy((model.backbone, model.attribute_classifier))
        source[0].train(soft_labels == 'target-bn')
        # The branch has moved since.
        with torch.no_grad():
            for parameter in model.backbone.parameters():
                parameter.mul_(1.3)
    # Two steps: the second from where the first led.
    for seed in (1, 2):
        data, info = batch(stage, num, known, seed)
        before = copy.deepcopy(model)
        optimizer = torch.optim.Adam(model.parameters(), **ADAM)
        total, _ = model.parse_losses(model.loss(data, info))
        optimizer.zero_grad()
        total.backward()
        grads, parameters, buffers = three_updates(before, data, stage, source)
        for name, parameter in model.named_parameters():
            if name in grads:
                close(parameter.grad, grads[name], name)
            else:
                assert parameter.grad is None, name
        for name, buffer in buffers.items():
            if name.startswith('source_'):
                continue  # nobody reads the copy's running statistics
            close(model.get_buffer(name), buffer, name)
        optimizer.step()
        for name, parameter in model.named_parameters():
            # Adam divides by the gradient's size: tiny ones lose digits.
            expected = parameters.get(name, before.get_parameter(name))
            close(parameter, expected, name, rtol=1e-5)


@pytest.mark.parametrize('soft_labels', ['source', 'target-bn', 'online'])
@pytest.mark.parametrize(
    'stage, name, reached',
    [
        ('joint', 'loss_id', {'identity'}),
        ('joint', 'loss_att', {'attribute'}),
        ('joint', 'loss_att_iia', {'iia'}),
        ('joint', 'loss_rec', {'iia'}),
        ('joint', 'loss_id_transfer', {'iia', 'attribute'}),
        ('adapt', 'loss_att', {'attribute'}),
        ('adapt', 'loss_att_iia', {'iia'}),
        ('adapt', 'loss_rec', {'iia'}),
        ('adapt', 'loss_id_transfer', {'iia', 'attribute'}),
    ],
)
def test_who_gets_gradient(stage, soft_labels, name, reached):
    model = tj_aidl(soft_labels=soft_labels)
    model.prepare_stage(stage, None)
    with torch.no_grad():
        model.attribute_classifier.weight.mul_(1.5)
    model.loss(*batch(stage))[name].backward()
    found = {
        branch
        for branch, parts in BRANCHES.items()
        for part in parts
        for parameter in getattr(model, part).parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    if (stage, soft_labels, name) == ('adapt', 'online', 'loss_att'):
        # Eq. 2 of the branch's own probabilities: exactly zero.
        reached = set()
    assert found == reached


@pytest.mark.parametrize('stage', STAGES)
def test_what_a_stage_leaves_alone(stage):
    """Parameters and batch norms, over steps as the loop makes them."""
    model = tj_aidl()
    if stage == 'adapt':
        model.prepare_stage('adapt', None)
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=0.1, **ADAM)
    for seed in range(3):
        model.train()
        total, _ = model.parse_losses(model.loss(*batch(stage, seed=seed)))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        # Frozen for the step only.
        assert all(module.training for module in model.modules())
    changed = {
        key.split('.')[0]
        for key, value in model.state_dict().items()
        if not torch.equal(value, before[key])
    }
    trained = dict(
        identity=('identity',),
        attribute=('attribute',),
        joint=('identity', 'iia', 'attribute'),
        adapt=('iia', 'attribute'),
    )[stage]
    assert changed == {part for name in trained for part in BRANCHES[name]}
    # What is trained is trained in full, batch norms as well.
    for name in trained:
        for part in BRANCHES[name]:
            for key, value in getattr(model, part).state_dict().items():
                assert not torch.equal(value, before[f'{part}.{key}']), key


def test_losses_of_each_stage():
    model = tj_aidl()
    identity = {'loss_id', 'source_accuracy'}
    attribute = {'loss_att', 'attribute_accuracy'}
    iia = {'loss_att_iia', 'loss_rec', 'loss_id_transfer'}
    for stage, names in dict(
        identity=identity,
        attribute=attribute,
        joint=identity | attribute | iia,
        adapt={'loss_att'} | iia,
    ).items():
        if stage == 'adapt':
            model.prepare_stage('adapt', None)
        assert model.loss(*batch(stage)).keys() == names


def test_stages_agree_on_the_losses_they_share():
    model = tj_aidl()
    joint = model.loss(*batch('joint'))
    for stage in ('identity', 'attribute'):
        for name, value in model.loss(*batch(stage)).items():
            assert torch.equal(value, joint[name]), name


def test_accuracies_are_percent_of_what_is_known():
    model = tj_aidl()
    data, info = batch('joint')
    losses, images = model.loss(data, info), data['inputs']
    logits = model.attribute_classifier(pooled(model.backbone, images))
    pairs = [
        (logit > 0, bool(a))
        for logit, a in zip(
            logits.flatten().tolist(),
            data['attributes'].flatten().tolist(),
            strict=True,
        )
        if a != -1
    ]
    assert 0 < len(pairs) < logits.numel()
    right = sum(guess == truth for guess, truth in pairs)
    assert losses['attribute_accuracy'].item() == pytest.approx(
        100 * right / len(pairs)
    )
    logits = model.identity_classifier(pooled(model.identity_backbone, images))
    right = (logits.argmax(1) == data['person_id']).sum().item()
    assert losses['source_accuracy'].item() == pytest.approx(100 * right / 5)
    # Nothing known: a number, not nan.
    losses = model.loss(*batch('joint', known='none'))
    assert losses['attribute_accuracy'] == 0


def test_source_copy_is_frozen_and_discarded():
    model = tj_aidl()
    expected = copy.deepcopy(
        nn.Sequential(model.backbone, model.attribute_classifier).state_dict()
    )
    model.prepare_stage('adapt', None)
    copied = nn.Sequential(model.source_backbone, model.source_classifier)
    assert not any(p.requires_grad for p in copied.parameters())
    for key, value in copied.state_dict().items():
        assert torch.equal(value, expected[key]), key
    # Soft labels of an older branch cannot come back.
    model.prepare_stage('joint', None)
    assert not any('source' in key for key in model.state_dict())


def test_attribute_branch_starts_from_the_identity_branch():
    model = tj_aidl(attribute_from_identity=True)
    own = copy.deepcopy(model.backbone.state_dict())
    for stage in ('identity', 'attribute', 'adapt'):
        model.prepare_stage(stage, None)
        for key, value in model.backbone.state_dict().items():
            assert torch.equal(value, own[key]), (stage, key)
    model.prepare_stage('joint', None)
    identity = model.identity_backbone.state_dict()
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, identity[key]), key
    # A copy: they part at the first step.
    assert model.backbone.conv.weight is not (
        model.identity_backbone.conv.weight
    )
    model = tj_aidl()
    model.prepare_stage('joint', None)
    assert torch.equal(model.backbone.conv.weight, own['conv.weight'])


def test_iia_reads_the_identity_feature_of_eval_mode():
    model, other = tj_aidl(), tj_aidl(eval_identity_feature=True)
    data, info = batch('joint')
    for _ in range(3):  # running statistics unlike the batch's
        other.identity_backbone(10 * data['inputs'] + 1)
    model.load_state_dict(other.state_dict())
    running = copy.deepcopy(other.identity_backbone)
    running(data['inputs'])  # Eq. 1 comes first
    running.eval()
    ours, plain = other.loss(data, info), model.loss(data, info)
    x_id = pooled(running, data['inputs']).detach()
    embedding, reconstruction = other.head(x_id)
    close(
        ours['loss_rec'],
        weighted(other.loss_rec, x_id, reconstruction),
        'loss_rec',
    )
    close(
        ours['loss_att_iia'],
        attribute_loss(embedding, data['attributes']),
        'loss_att_iia',
    )
    assert not torch.allclose(ours['loss_rec'], plain['loss_rec'])
    # Eq. 1 and 2 are of training mode, whose statistics move once.
    for name in ('loss_id', 'loss_att'):
        assert torch.equal(ours[name], plain[name])
    for key, value in model.identity_backbone.state_dict().items():
        other_value = other.identity_backbone.state_dict()[key]
        assert torch.equal(value, other_value), key


def test_checkpoint_within_the_adaptation():
    model = tj_aidl()
    model.prepare_stage('adapt', None)
    with torch.no_grad():
        model.attribute_classifier.weight.mul_(1.5)
    resumed = tj_aidl()
    resumed.load_state_dict(model.state_dict())
    assert not any(
        p.requires_grad for p in resumed.source_backbone.parameters()
    )
    ours, theirs = (m.loss(*batch('adapt')) for m in (resumed, model))
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name
    # A checkpoint of an earlier stage takes the copy away.
    resumed.load_state_dict(tj_aidl().state_dict())
    assert resumed.source_backbone is None


@pytest.mark.parametrize('amp', [False, True])
@pytest.mark.parametrize(
    'retrieval_feature', ['attribute', 'identity', 'concatenated']
)
def test_predict(retrieval_feature, amp):
    model = tj_aidl(TJAIDL, retrieval_feature=retrieval_feature, amp=amp)
    model.eval()
    samples, _ = batch('joint')
    images = samples.pop('inputs').float()
    attribute = pooled(model.backbone, images)
    identity = pooled(model.identity_backbone, images)
    assert not torch.allclose(attribute, identity)
    norms = [x.norm(dim=1, keepdim=True) for x in (attribute, identity)]
    expected = dict(
        attribute=attribute,
        identity=identity,
        concatenated=torch.cat([attribute / norms[0], identity / norms[1]], 1),
    )[retrieval_feature]
    with torch.no_grad():
        (result,) = model(images, samples, mode='predict')
        features = model(images, mode='tensor')
    tolerance = dict(rtol=0.1, atol=0.1) if amp else dict(rtol=1e-5, atol=1e-6)
    assert torch.equal(result['features'], features)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, expected.detach(), **tolerance)
    scores = model.attribute_classifier(attribute).sigmoid()
    torch.testing.assert_close(
        result['attribute_scores'], scores.detach(), **tolerance
    )
    assert result['person_id'] is samples['person_id']


@pytest.mark.parametrize('stage', STAGES)
def test_amp_keeps_the_losses_in_float32(stage):
    model, plain = tj_aidl(TJAIDL, amp=True), tj_aidl(TJAIDL)
    model.prepare_stage('adapt', None)
    plain.prepare_stage('adapt', None)
    data, info = batch(stage)
    data['inputs'] = data['inputs'].float()
    losses = model.loss(data, info)
    for name, value in plain.loss(data, info).items():
        assert losses[name].dtype == torch.float32
        if 'loss' in name:
            torch.testing.assert_close(
                losses[name], value, rtol=0.1, atol=0.05
            )
    for backbone in (model.backbone, model.identity_backbone):
        assert backbone.end.weight.is_contiguous(
            memory_format=torch.channels_last
        )


def test_branches_start_apart():
    model = tj_aidl(TJAIDL)
    ours, theirs = model.backbone, model.identity_backbone
    assert not torch.equal(ours.conv.weight, theirs.conv.weight)


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            dict(loss_rec=dict(type='SquaredDistanceLoss', reduction='none')),
            "reduction of SquaredDistanceLoss must be .* 'none'",
        ),
        (dict(soft_labels='hard'), "soft_labels must be one of .* 'hard'"),
        (
            dict(retrieval_feature='both'),
            "retrieval_feature must be one of .* 'both'",
        ),
        (
            dict(head=dict(type='IIAHead', num_attributes=30)),
            'head.num_attributes is 30, but it is 4 by',
        ),
    ],
)
def test_options_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        tj_aidl(**changes)


def test_batches_that_do_not_fit():
    model = tj_aidl()
    for stage in ('attribute', 'joint'):
        data, info = batch(stage)
        other = torch.zeros(5, NUM_ATTRIBUTES + 3)
        with pytest.raises(ValueError, match=r'\(5, 7\).*\(5, 4\)'):
            model.loss(data | dict(attributes=other), info)
    data, info = batch('identity')
    del data['attributes']
    model.loss(data, info)


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(num_identities=9), '9 classes on 7 .* 6 on 7.*num_identities'),
        (dict(num_attributes=3), '3 classes on 7 .* 4 on 7.*num_attributes'),
        (dict(head=dict(type='IIAHead')), '7-512-128-4, but .* 7-6-5-4'),
    ],
)
def test_checkpoint_of_another_size(changes, message):
    state_dict = tj_aidl(**changes).state_dict()
    with pytest.raises(ValueError, match=message):
        tj_aidl().load_state_dict(state_dict)

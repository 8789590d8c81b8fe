import copy

import mar_reference as ref
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tiny_mar import batch_info
from torch import nn

from mmreid.models import MAR
from mmreid.models.utils import gather_batch, kth_largest_agreement
from mmreid.registry import MODELS

NUM_AGENTS, CHANNELS, NUM_TARGETS, SCALE = 6, 5, 14, 8.0


@MODELS.register_module(force=True)
class TinyNormBackbone(nn.Module):
    def __init__(self):
        super().__init__()
        # The norm takes a bias away again.
        self.conv = nn.Conv2d(3, 7, 3, 2, bias=False)
        self.norm = nn.BatchNorm2d(7)
        self.end = nn.Conv2d(7, CHANNELS, 3)

    def forward(self, x):
        return (self.end(self.norm(self.conv(x)).relu()),)


class DoubleMAR(MAR):
    """MAR in float64: the features are not cast."""

    def extract_feat(self, inputs):
        return self.neck(self.backbone(inputs)[-1])


class FeatureMAR(MAR):
    """MAR whose inputs are the features."""

    def extract_feat(self, inputs):
        return inputs


def mar(cls=DoubleMAR, persons=None, **kwargs):
    torch.manual_seed(0)
    model = cls(
        head=dict(
            type='ReferenceAgentHead',
            num_agents=NUM_AGENTS,
            num_reference_persons=persons,
            scale=SCALE,
        ),
        backbone=dict(type='TinyNormBackbone'),
        **(dict(miner=dict(type='SoftMultilabelMiner', ratio=0.25)) | kwargs),
    ).double()
    if model.memory is not None:
        model.memory.allocate(NUM_TARGETS, persons or NUM_AGENTS)
    if model.references is not None:
        labels = 2 * ref.double(12, persons or NUM_AGENTS, seed=5)
        model.references.init(labels.log_softmax(1), torch.arange(12) % 3)
    if hasattr(model.miner, 'threshold'):
        model.miner.threshold.fill_(0.95)
    return model


def step_data(step, num_source=6, num_target=9):
    generator = torch.Generator().manual_seed(step)

    def draw(high, num):
        return torch.randint(high, (num,), generator=generator)

    samples = dict(
        # A target's label must not be read: no agent has this one.
        person_id=torch.cat(
            [draw(NUM_AGENTS, num_source), torch.full((num_target,), 10**6)]
        ),
        # Camera 7 is seen once.
        camera_id=torch.cat(
            [draw(3, num_source + num_target - 1), torch.tensor([7])]
        ),
        sample_idx=torch.cat(
            [
                draw(50, num_source),
                torch.randperm(NUM_TARGETS, generator=generator)[:num_target],
            ]
        ),
        domain=torch.tensor([0] * num_source + [1] * num_target),
    )
    images = ref.double(num_source + num_target, 3, 9, 9, seed=step)
    # The domains have their own statistics.
    images[num_source:] = 2 * images[num_source:] + 0.5
    info = batch_info('main', source=num_source, target=num_target)
    return dict(samples, inputs=images), info


def parameters_of(backbone, agents):
    return dict(backbone.named_parameters()) | {'agents': agents}


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(memory=None),
        dict(threshold='batch', memory=None),
        dict(guide='feature'),
        dict(persons=4),
        dict(references=None, lambda1=0.7),
        dict(lambda1=0.7, lambda2=3.0, beta=0.6, margin=1.6),
        dict(mdl_weight=2.5, mines_from=0),
        dict(miner=None),
    ],
    ids=str,
)
def test_main_stage_over_steps(options):
    weights = dict(
        lambda1=options.get('lambda1', 2e-4),
        lambda2=options.get('lambda2', 50.0),
        beta=options.get('beta', 0.2),
    )
    guide = options.get('guide', 'agreement')
    threshold = options.get('threshold', 'ema')
    miner = dict(
        agreement=dict(
            type='SoftMultilabelMiner', ratio=0.25, threshold=threshold
        ),
        feature=dict(type='FeatureGuidedMiner', ratio=0.25),
    )[guide]
    margin = options.get('margin', 1.0)
    mdl_weight = options.get('mdl_weight', 1.0)
    model = mar(
        loss_al=dict(type='CrossEntropyLoss', loss_weight=weights['lambda2']),
        loss_rj=dict(
            type='RJLoss',
            margin=margin,
            loss_weight=weights['lambda2'] * weights['beta'],
        ),
        loss_cml=dict(type='CMLLoss', loss_weight=weights['lambda1']),
        loss_mdl=dict(type='MDLLoss', loss_weight=mdl_weight),
        **dict(
            dict(miner=miner),
            **{
                k: v
                for k, v in options.items()
                if k in ('memory', 'miner', 'persons', 'references')
            },
        ),
    ).train()
    backbone = copy.deepcopy(model.backbone)
    agents = model.head.agents.detach().clone().requires_grad_()
    running = None, None
    if model.references is not None:
        running = model.references.mean.clone(), model.references.std.clone()
    slow = ref.MARStep(
        SCALE,
        *running,
        0.95,
        memory='memory' not in options,
        threshold=threshold,
        guide=guide,
        ratio=0.25,
        references=options.get('persons'),
        margin=margin,
    )
    mines_from = options.get('mines_from', 2)
    mined = set()
    for step in range(5):
        batch, info = step_data(step)
        model.mine(step >= mines_from)
        losses = model.loss(batch, info)
        total, _ = model.parse_losses(losses)
        ours = parameters_of(model.backbone, model.head.agents)
        grads = torch.autograd.grad(total, list(ours.values()))

        num = info.domains['source'].stop
        inputs = batch['inputs']
        # Apart, the source first: batch statistics per domain.
        source = backbone(inputs[:num])[0].mean((2, 3))
        target = backbone(inputs[num:])[0].mean((2, 3))
        expected = slow(
            source,
            target,
            agents,
            batch['person_id'][:num].tolist(),
            batch['camera_id'][num:].tolist(),
            batch['sample_idx'][num:].tolist(),
            with_mdl=step >= mines_from and 'miner' not in options,
        )
        assert ('loss_mdl' in losses) == ('mdl' in expected)
        if 'mdl' in expected:
            expected['mdl'] = mdl_weight * expected['mdl']
            mined.update(model.mined_pairs[2].tolist())
            ref.close(losses['loss_mdl'], expected['mdl'])
        loss = ref.total(expected, **weights)
        theirs = parameters_of(backbone, agents)
        grads_ref = torch.autograd.grad(loss, list(theirs.values()))
        ref.close(total, loss)
        for name, grad, grad_ref in zip(ours, grads, grads_ref, strict=True):
            torch.testing.assert_close(
                grad,
                grad_ref,
                rtol=1e-6,
                atol=1e-8 * grad_ref.abs().max().item(),
                msg=lambda m, name=name: f'{name}: {m}',
            )
        if model.references is not None:
            ref.close(model.references.mean, slow.mean)
            ref.close(model.references.std, slow.std)
        if guide == 'agreement' and threshold == 'ema' and model.miner:
            assert model.miner.threshold.item() == pytest.approx(
                slow.value, rel=1e-9
            )
        if model.memory is not None:
            visited = model.memory.visited.nonzero().flatten().tolist()
            assert visited == sorted(slow.memory.rows)
            for index, row in slow.memory.rows.items():
                ref.close(model.memory.rows[index], row)
        for name, buffer in backbone.named_buffers():
            ref.close(model.backbone.get_buffer(name), buffer)
        with torch.no_grad():
            for params, gradients in ((ours, grads), (theirs, grads_ref)):
                for parameter, grad in zip(
                    params.values(), gradients, strict=True
                ):
                    parameter -= 0.01 * grad
    # Both kinds of pairs were compared.
    assert 'miner' in options or mined == {True, False}


def test_without_mining_memory_and_threshold_stay():
    model = mar()
    model.mine(False)
    model.loss(*step_data(0))
    assert not model.memory.visited.any()
    assert model.miner.threshold == 0.95
    assert model.mined_pairs is None


@pytest.mark.parametrize(
    'name, reached',
    [
        ('loss_al', {'source', 'agents'}),
        ('loss_rj', {'source', 'target'}),
        ('loss_cml', {'target'}),
        ('loss_mdl', {'target'}),
    ],
)
def test_who_gets_gradient(name, reached):
    model = mar(FeatureMAR)
    agents = model.head.agents
    batch, info = step_data(2)
    num = info.domains['source'].stop
    # Near agents for source and target images.
    features = agents.detach()[torch.arange(15) % NUM_AGENTS]
    features = (features + ref.double(15, CHANNELS) / 9).requires_grad_()
    losses = model.loss(dict(batch, inputs=features), info)
    grad, grad_agents = torch.autograd.grad(
        losses[name], (features, agents), allow_unused=True
    )
    found = {
        'source': grad[:num].any(),
        'target': grad[num:].any(),
        'agents': grad_agents is not None and grad_agents.any(),
    }
    assert {key for key, value in found.items() if value} == reached


def test_pretraining_is_the_cross_entropy_of_raw_products():
    model = mar(FeatureMAR)
    before = copy.deepcopy(model.state_dict())
    agents = model.head.agents
    batch, _ = step_data(2)
    features = ref.double(15, CHANNELS).requires_grad_()
    info = batch_info('pretrain', source=6)
    losses = model.loss(dict(batch, inputs=features), info)
    assert {key for key in losses if 'loss' in key} == {'loss_al'}
    grads = torch.autograd.grad(losses['loss_al'], (features, agents))
    expected = ref.al_loss(
        features[:6], agents, batch['person_id'][:6].tolist(), None
    )
    grads_ref = torch.autograd.grad(expected, (features, agents))
    ref.close(losses['loss_al'], expected)
    for grad, grad_ref in zip(grads, grads_ref, strict=True):
        ref.close(grad, grad_ref)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_flip_test():
    model = mar(flip_test=True).eval()
    images = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    samples = dict(person_id=torch.arange(3))
    (output,) = model(images, samples, mode='predict')
    one, other = (
        model.extract_feat(part) for part in (images, images.flip(3))
    )
    assert not torch.allclose(one, other)
    torch.testing.assert_close(output['features'], (one + other) / 2)
    assert torch.equal(output['person_id'], torch.arange(3))


def test_features_are_pooled_and_float32():
    model = mar(MAR).float().eval()
    images = step_data(0)[0]['inputs'].float()
    expected = model.backbone(images)[0].mean((2, 3))
    torch.testing.assert_close(model.extract_feat(images), expected)
    torch.testing.assert_close(model(images), expected)


def test_checkpoints():
    trained = mar()
    pretrained = copy.deepcopy(trained.state_dict())
    trained.loss(*step_data(2))
    # Of the pretraining: any target.
    other = mar()
    other.memory.allocate(NUM_TARGETS + 3, NUM_AGENTS)
    other.load_state_dict(pretrained)
    # Of the main stage: its own target, or a test without memory.
    with pytest.raises(ValueError, match=f'{NUM_TARGETS} target images'):
        other.load_state_dict(trained.state_dict())
    resumed = mar()
    resumed.load_state_dict(trained.state_dict())
    for step in (3, 4):
        ours = resumed.loss(*step_data(step))
        theirs = trained.loss(*step_data(step))
        for key, value in theirs.items():
            assert torch.equal(ours[key], value), key
    tested = mar()
    tested.memory.allocate(0, 0)
    tested.load_state_dict(trained.state_dict())


# Two processes against one


def global_step(rank, world_size):
    """Loss, gradients and state of one step of the global batch."""
    # Batch statistics are per process: compare without them.
    model = mar().eval()
    batch, _ = step_data(2, num_source=6, num_target=10)
    parts = [
        rows.chunk(world_size)[rank]
        for rows in (torch.arange(6), torch.arange(6, 16))
    ]
    rows = torch.cat(parts)
    batch = {key: value[rows] for key, value in batch.items()}
    info = batch_info('main', source=len(parts[0]), target=len(parts[1]))
    total, _ = model.parse_losses(model.loss(batch, info))
    params = dict(model.named_parameters())
    grads = torch.autograd.grad(total, list(params.values()))
    labels = ref.double(23, 4).softmax(1).float()
    agreements = [
        kth_largest_agreement(labels, k, chunk_size=5) for k in (1, 40, 253)
    ]
    return (
        total.detach(),
        [grad / world_size for grad in grads],
        model.state_dict(),
        agreements,
        gather_batch(torch.tensor([rank])),
    )


def distributed_step(rank, world_size, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo',
        init_method=f'file://{folder}/store',
        rank=rank,
        world_size=world_size,
    )
    total, grads, state, agreements, ranks = global_step(rank, world_size)
    assert ranks.tolist() == list(range(world_size))
    # What DistributedDataParallel does: the mean over the ranks.
    for grad in grads:
        dist.all_reduce(grad)
    torch.save((total, grads, state, agreements), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    total, grads, state, agreements, _ = global_step(0, 1)
    mp.spawn(distributed_step, (2, str(tmp_path)), nprocs=2)
    for rank in range(2):
        other = torch.load(tmp_path / f'{rank}.pth', weights_only=True)
        ref.close(other[0], total)
        for ours, theirs in zip(other[1], grads, strict=True):
            ref.close(ours, theirs)
        assert other[2].keys() == state.keys()
        for key, value in state.items():
            ref.close(other[2][key], value)
        assert other[3] == agreements

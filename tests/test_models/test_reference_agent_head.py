import mar_reference as ref
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from mmreid.errors import InputError
from mmreid.models import CameraReferences, SoftMultilabelMemory
from mmreid.models.heads import ReferenceAgentHead

IDS = [0, 4, 4, 2, 1, 3]


def head_of(num_agents=5, **kwargs):
    return ReferenceAgentHead(num_agents, 4, **kwargs).double()


class Calls(torch.nn.Module):
    """A method of the head as a function of features and agents."""

    def __init__(self, method, **kwargs):
        super().__init__()
        self.head = head_of(**kwargs)
        self.method = method

    def forward(self, features):
        return self.method(self.head, features)

    def of(self, features, agents):
        return functional_call(self, {'head.agents': agents}, (features,))


@pytest.mark.parametrize('scale', [30.0, 8.5])
def test_al_with_unit_norm(scale):
    def ours(features, agents):
        calls = Calls(
            lambda head, f: head.scaled_cosine(F.normalize(f)), scale=scale
        )
        return F.cross_entropy(calls.of(features, agents), torch.tensor(IDS))

    def reference(features, agents):
        return ref.al_loss(features, agents, IDS, scale)

    ref.assert_same(ours, reference, ref.double(6, 4), ref.double(5, 4))


def test_al_of_the_pretraining():
    def ours(features, agents):
        calls = Calls(lambda head, f: head.logits(f))
        return F.cross_entropy(calls.of(features, agents), torch.tensor(IDS))

    def reference(features, agents):
        return ref.al_loss(features, agents, IDS, None)

    ref.assert_same(ours, reference, ref.double(6, 4), ref.double(5, 4))


@pytest.mark.parametrize('references', [None, 3])
def test_soft_multilabel(references):
    weight = ref.double(6, references or 5, seed=7)

    def ours(features, agents):
        calls = Calls(
            lambda head, f: head.log_soft_multilabel(
                head.reference_cosine(F.normalize(f))
            ),
            num_reference_persons=references,
            scale=30.0,
        )
        return (calls.of(features, agents) * weight).sum()

    def reference(features, agents):
        # Detached: the soft multilabels do not teach the agents.
        fixed = [a.detach() for a in ref.unit(agents)][:references]
        rows = ref.log_soft_multilabels(ref.unit(features), fixed, 30.0)
        return (rows * weight).sum()

    ref.assert_same(ours, reference, ref.double(6, 4), ref.double(5, 4))


def test_soft_multilabels_sum_to_one_whatever_the_scale():
    head = head_of(scale=1000.0)
    features = F.normalize(ref.double(6, 4))
    labels = head.log_soft_multilabel(head.reference_cosine(features))
    assert labels.isfinite().all()
    ref.close(labels.exp().sum(1), torch.ones(6).double())


def test_agents_start_as_a_linear_classifier():
    torch.manual_seed(3)
    head = ReferenceAgentHead(7, 5)
    torch.manual_seed(3)
    assert torch.equal(head.agents, torch.nn.Linear(5, 7, bias=False).weight)


def test_scale_of_the_config_wins_over_the_checkpoint():
    trained, head = head_of(scale=20.0), head_of(scale=30.0)
    state_dict = trained.state_dict()
    head.load_state_dict(state_dict)
    assert head.scale == 30
    assert state_dict['scale'] == 20
    assert torch.equal(head.agents, trained.agents)


def test_measured_scale_travels_in_the_state_dict():
    trained, head = head_of(scale='auto'), head_of(scale='auto')
    assert trained.scale.isnan()
    trained.scale.fill_(17.5)
    head.load_state_dict(trained.state_dict())
    assert head.scale == 17.5


@pytest.mark.parametrize('shape', [(6, 4), (5, 8)])
def test_agents_of_another_size(shape):
    state_dict = ReferenceAgentHead(*shape).state_dict()
    message = f'{shape[0]} reference agents of {shape[1]} channels'
    with pytest.raises(ValueError, match=message):
        head_of().check_weights(state_dict, '')


def test_more_reference_persons_than_identities():
    with pytest.raises(ValueError, match='num_reference_persons=6'):
        head_of(num_reference_persons=6)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(scale='Auto'), "must be above 0, or 'auto', but is 'Auto'"),
        (dict(scale=0), 'must be above 0'),
        (dict(scale=-30), 'must be above 0'),
        (dict(num_reference_persons=0), 'must be between 1 and 5'),
        (dict(num_reference_persons=-1), 'must be between 1 and 5'),
        (dict(num_reference_persons=6), 'must be between 1 and 5'),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        ReferenceAgentHead(num_agents=5, in_channels=3, **options)


def test_memories_out_of_range():
    with pytest.raises(InputError, match=r'must be in \[0, 1\], but is 1.5'):
        SoftMultilabelMemory(momentum=1.5)
    with pytest.raises(InputError, match='must be above 0, but is 0'):
        CameraReferences(momentum_scale=0)

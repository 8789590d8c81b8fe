import copy

import pytest
import tiny_tj_aidl
import torch
from mmengine.dataset import default_collate
from torch import nn

from mmreid.apis import adapt_bn
from mmreid.errors import InputError
from mmreid.registry import DATASETS, MODELS


@pytest.fixture
def model(tiny_config):
    torch.manual_seed(0)
    return MODELS.build(tiny_config().model)


@pytest.fixture
def dataset(tiny_config):
    return DATASETS.build(tiny_config().train_dataloader.dataset)


def norms_of(model):
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }


def note_batches(model):
    """What the model will be given: per batch, (domain, sample_idx) pairs."""
    batches = []

    def note(_, args):
        samples = args[0]['data_samples']
        keys = samples['domain'].tolist(), samples['sample_idx'].tolist()
        batches.append(list(zip(*keys, strict=True)))

    model.data_preprocessor.register_forward_pre_hook(note)
    return batches


def test_statistics_are_the_mean_over_batches(model, dataset):
    before = copy.deepcopy(model)
    batches = note_batches(model)
    images = dataset.images('target')
    assert adapt_bn(model, images, batch_size=8, seed=3) is model
    assert not model.training

    # The batches' own statistics, by what each norm is given.
    reference = copy.deepcopy(before).train()
    seen = {name: [] for name in norms_of(reference)}
    for name, module in norms_of(reference).items():
        module.register_forward_pre_hook(
            lambda _, args, name=name: seen[name].append(
                torch.var_mean(args[0], (0, 2, 3))
            )
        )
    # The images that fill no batch are left out.
    assert [len(batch) for batch in batches] == [8, 8]
    assert len({image for batch in batches for image in batch}) == 16
    with torch.no_grad():
        for batch in batches:
            data = default_collate([images[i] for _, i in batch])
            data = reference.data_preprocessor(data, False)
            reference.extract_feat(data['inputs'])

    for name, module in norms_of(model).items():
        variances, means = zip(*seen[name], strict=True)
        assert len(means) == 2
        expected = torch.stack(means).mean(0), torch.stack(variances).mean(0)
        torch.testing.assert_close(module.running_mean, expected[0])
        torch.testing.assert_close(module.running_var, expected[1])
        assert module.momentum == norms_of(before)[name].momentum
    parameters = dict(model.named_parameters())
    for name, parameter in before.named_parameters():
        assert torch.equal(parameters[name], parameter), name


def test_all_images_by_default(model, dataset):
    batches = note_batches(model)
    adapt_bn(model, dataset, batch_size=9)
    images = [image for batch in batches for image in batch]
    assert len(images) == len(set(images)) == len(dataset)
    # Mixed, as the seed says.
    assert images != sorted(images)
    for seed, same in ((0, True), (1, False)):
        first = list(batches)
        batches.clear()
        adapt_bn(model, dataset, batch_size=9, seed=seed)
        assert (batches == first) == same


def test_labels_are_not_read(model, dataset, monkeypatch):
    other = copy.deepcopy(model)
    adapt_bn(model, dataset, batch_size=8)
    place = type(dataset)._place

    def without_label(self, sample, which):
        place(self, sample, which)
        sample['person_id'] = 10**9
        return sample

    monkeypatch.setattr(type(dataset), '_place', without_label)
    adapt_bn(other, dataset, batch_size=8)
    # A threshold that nothing has set is not a number.
    torch.testing.assert_close(
        dict(model.state_dict()),
        dict(other.state_dict()),
        rtol=0,
        atol=0,
        equal_nan=True,
    )


@pytest.mark.parametrize(
    'feature, passed, other',
    [
        ('attribute', 'backbone', 'identity_backbone'),
        ('identity', 'identity_backbone', 'backbone'),
    ],
)
def test_norms_that_the_feature_does_not_pass_stay(
    benchmark, tmp_path, dataset, feature, passed, other
):
    cfg = tiny_tj_aidl.tiny_config(
        benchmark,
        str(tmp_path / 'run'),
        model__retrieval_feature=feature,
    )
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    with torch.no_grad():
        for backbone in (model.backbone, model.identity_backbone):
            # Statistics other than the first.
            backbone(torch.randn(4, 3, 32, 16))
    before = copy.deepcopy(model)
    adapt_bn(model, dataset.images('target'), batch_size=8)
    for name, module in norms_of(model).items():
        old = norms_of(before)[name]
        assert module.momentum == old.momentum
        for key, value in module.state_dict().items():
            same = torch.equal(value, old.state_dict()[key])
            estimated = 'running' in key or 'num_batches' in key
            passes = name.startswith(f'{passed}.')
            assert passes != name.startswith(f'{other}.')
            assert same != (passes and estimated), (name, key)


@pytest.mark.parametrize('domain', [None, 'target'])
def test_too_few_images(model, dataset, domain):
    images = dataset.images(domain) if domain else dataset
    num = len(images)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(
        ValueError, match=f'^{num} images fill no batch of {num + 1}, .* small'
    ):
        adapt_bn(model, images, batch_size=num + 1)
    torch.testing.assert_close(
        model.state_dict(), before, rtol=0, atol=0, equal_nan=True
    )
    adapt_bn(model, images, batch_size=num)


def test_frozen_norms_stay(tiny_config, dataset):
    backbone = dict(tiny_config().model.backbone, frozen_stages=1)
    torch.manual_seed(0)
    model = MODELS.build(dict(tiny_config().model, backbone=backbone))
    norms = norms_of(model.train())
    frozen = {name for name, norm in norms.items() if not norm.training}
    assert frozen and frozen != set(norms)
    for norm in norms.values():
        norm.running_mean.fill_(0.5)
    seen = {}
    for name in frozen:
        norms[name].register_forward_hook(
            lambda norm, *_, name=name: seen.update(
                {name: norm.running_mean.clone()}
            )
        )
    adapt_bn(model, dataset, batch_size=8)
    for name, norm in norms.items():
        kept = torch.equal(
            norm.running_mean, torch.full_like(norm.running_mean, 0.5)
        )
        assert kept == (name in frozen), name
    # Also while the others were estimated.
    assert all((mean == 0.5).all() for mean in seen.values())


def test_one_image(model, dataset):
    with pytest.raises(InputError, match='batch of 1 image cannot be taken'):
        adapt_bn(model, dataset.images('target'), batch_size=1)

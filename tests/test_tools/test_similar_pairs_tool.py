import os.path as osp
import runpy
import sys
from itertools import combinations

import cv2
import pytest
import tiny_mar
import torch
import torch.nn.functional as F

from mmreid.registry import DATASETS, MODELS
from mmreid.structures import FeatureSet

TOOL = runpy.run_path(
    osp.join(tiny_mar.ROOT, 'tools/analysis_tools/similar_pairs.py'),
    run_name='similar_pairs',
)


def slow_choice(features, labels, ratio, num):
    """The pairs, one after the other, from all of them."""
    features = F.normalize(features)
    pairs = list(combinations(range(len(features)), 2))
    pairs.sort(key=lambda p: -(features[p[0]] @ features[p[1]]).item())

    def agreement(pair):
        first, second = (labels[i].tolist() for i in pair)
        return sum(map(min, first, second))

    similar = pairs[: int(ratio * len(pairs))]
    chosen = sorted(similar, key=agreement)[:num]
    return chosen, [agreement(pair) for pair in chosen]


@pytest.fixture
def model(tiny_config):
    torch.manual_seed(0)
    return MODELS.build(tiny_config().model).eval()


@pytest.mark.parametrize('ratio, num', [(0.1, 3), (0.5, 8), (0.02, 50)])
def test_the_pairs_are_those_of_the_slow_choice(model, ratio, num):
    features = torch.randn(
        24, model.feature_length, generator=torch.Generator().manual_seed(1)
    )
    labels = model.log_soft_multilabel(features).exp()
    expected, agreements = slow_choice(features, labels, ratio, num)
    pairs, cosine, agreement, similar = TOOL['choose'](
        model, FeatureSet(features), ratio, num
    )
    assert similar == int(ratio * 276)
    assert [tuple(pair) for pair in pairs.tolist()] == expected
    assert agreement.tolist() == pytest.approx(agreements, rel=1e-4)
    unit = F.normalize(features)[pairs]
    assert cosine.tolist() == pytest.approx(
        (unit[:, 0] * unit[:, 1]).sum(1).tolist(), abs=1e-5
    )


def test_a_pair_made_by_hand_is_found(model):
    # Images of three agents in two looks: the first two look alike, as do
    # the last two, of whom one resembles another agent.
    axes = torch.eye(model.feature_length)
    with torch.no_grad():
        model.head.agents.copy_(axes[: model.head.num_agents])
    look = 5 * axes[-4:-2]
    features = torch.stack(
        [look[0], look[0], look[1] + axes[0], look[1] + axes[1]]
    )
    pairs, _, agreement, similar = TOOL['choose'](
        model, FeatureSet(features), 0.34, 1
    )
    # 5 of 6 pairs would not look alike, or agree.
    assert (pairs.tolist(), similar) == ([[2, 3]], 2)
    assert agreement.item() < 0.1


@pytest.fixture
def run(monkeypatch):
    """Run the tool, and give what it draws."""
    drawn = []
    scope = TOOL['choose'].__globals__
    draw = scope['draw_similar_pairs']

    def spy(pairs, *arguments):
        drawn[:] = pairs
        draw(pairs, *arguments)

    monkeypatch.setitem(scope, 'draw_similar_pairs', spy)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['tool', *map(str, arguments)])
        TOOL['main']()
        return drawn

    return run


@pytest.fixture
def files(tiny_config, tmp_path, model):
    """A config and the checkpoint of an untrained model."""
    cfg = tiny_config()
    cfg.dump(str(tmp_path / 'tiny.py'))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    return cfg, tmp_path / 'tiny.py', tmp_path / 'model.pth'


def test_picture(files, run, model, tmp_path, capsys):
    cfg, config, checkpoint = files
    out = tmp_path / 'out.png'
    pairs = run(config, checkpoint, '--out', out, '--num', 4)
    assert cv2.imread(str(out)) is not None
    # The config's ratio of the 210 pairs of 21 images.
    output = capsys.readouterr().out
    assert '52 similar pairs of 21 images (p = 0.25), the 4' in output
    agreements = [pair.agreement for pair in pairs]
    assert agreements == sorted(agreements) and len(pairs) == 4

    data = cfg.train_dataloader.dataset
    source, target = (
        DATASETS.build(dict(data[name], labelled=True, pipeline=data.pipeline))
        for name in ('source', 'target')
    )

    def infos(dataset):
        return [dataset.get_data_info(i) for i in range(len(dataset))]

    person_of = {i['img_path']: i['person_id'] for i in infos(target)}
    agent_of = {i['img_path']: i['person_id'] for i in infos(source)}
    index_of = {i['img_path']: n for n, i in enumerate(infos(target))}
    for pair in pairs:
        first, second = (person_of[path] for path in pair.paths)
        assert pair.same_person == (first == second)
        for path, references in zip(pair.paths, pair.references, strict=True):
            image = target[index_of[path]]['inputs'][None].flip(1).float()
            with torch.no_grad():
                features = model.extract_feat((image - 120) / 60)
                labels = model.log_soft_multilabel(features).exp()[0]
            top = labels.topk(2)
            assert [agent_of[p] for p, _ in references] == top.indices.tolist()
            assert [value for _, value in references] == pytest.approx(
                top.values.tolist(), rel=1e-4
            )


def test_nothing_is_judged_where_nobody_knows(files, run, tmp_path):
    cfg, config, checkpoint = files
    root = cfg.train_dataloader.dataset.target.data_root
    target = 'train_dataloader.dataset.target'
    pairs = run(
        *(config, checkpoint, '--out', tmp_path / 'out.png'),
        *('--cfg-options', f'{target}.type=ReIDFolder'),
        f'{target}.data_root={root}/bounding_box_train',
    )
    assert {pair.same_person for pair in pairs} == {None}


def test_what_does_not_fit(files, run, tmp_path):
    _, config, checkpoint = files
    data = 'train_dataloader.dataset'
    for arguments, message in (
        (('--num', 0), '--num must be 1 or more, got 0'),
        (('--ratio', 0.001), r'0\.001 of the 210 pairs of 21 images are 0'),
        (('--ratio', 2), r'--ratio must be in \(0, 1\]'),
        (('--val',), 'no validation identities'),
        (
            ('--cfg-options', f'{data}.source=None'),
            'has no source, so there is no image of a reference person',
        ),
        (
            ('--cfg-options', f'{data}.target=None'),
            'has no target, so there are no unlabelled images',
        ),
        (
            ('--cfg-options', f'{data}.source.val_identities=2'),
            'reference persons, but the source of .* has',
        ),
        (
            ('--cfg-options', 'model.head.num_agents=3'),
            'The checkpoint holds .* reference agents',
        ),
    ):
        with pytest.raises(ValueError, match=message):
            run(config, checkpoint, '--out', tmp_path / 'o.png', *arguments)


def test_another_model_has_no_soft_multilabels(tiny_config, run, tmp_path):
    cfg = tiny_config()
    cfg.model = dict(
        type='Baseline',
        backbone=cfg.model.backbone,
        data_preprocessor=cfg.model.data_preprocessor,
        num_identities=4,
    )
    cfg.dump(str(tmp_path / 'other.py'))
    weights = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=weights), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='Baseline, which has no soft multil'):
        run(
            *(tmp_path / 'other.py', tmp_path / 'other.pth'),
            *('--out', tmp_path / 'o.png'),
        )


def test_a_checkpoint_of_another_model(files, run, tmp_path):
    _, config, checkpoint = files
    weights = torch.load(checkpoint)['state_dict']
    weights = {f'other.{key}': value for key, value in weights.items()}
    torch.save(dict(state_dict=weights), checkpoint)
    with pytest.raises(ValueError, match=r'checkpoint .*other\.'):
        run(config, checkpoint, '--out', tmp_path / 'o.png')

import json
import os.path as osp
import runpy
import sys
from itertools import combinations
from statistics import fmean

import pytest
import tiny_mar
import torch
import torch.nn.functional as F

from mmreid.registry import DATASETS, MODELS

TOOL = runpy.run_path(
    osp.join(tiny_mar.ROOT, 'tools/analysis_tools/mining_purity.py'),
    run_name='mining_purity',
)


def slow_measure(features, labels, persons, cameras, ratio, batches):
    """The columns, pair by pair."""

    def agreement(i, j):
        return sum(map(min, labels[i].tolist(), labels[j].tolist()))

    pairs = list(combinations(range(len(features)), 2))
    ordered = sorted((agreement(i, j) for i, j in pairs), reverse=True)
    threshold = ordered[int(ratio * len(pairs)) - 1]
    positives, negatives, same_camera, scores = [], [], [], ([], [])
    for batch in batches:
        pairs = list(combinations(batch, 2))
        pairs.sort(key=lambda p: (features[p[0]] - features[p[1]]).norm())
        for i, j in pairs[: int(ratio * len(pairs))]:
            same = bool(persons[i] == persons[j])
            mined = agreement(i, j) > threshold + 1e-7
            (positives if mined else negatives).append(same)
            same_camera.append(bool(cameras[i] == cameras[j]))
            scores[same].append(agreement(i, j))
    won = [a > b for b in scores[0] for a in scores[1]]
    return dict(
        ratio=ratio,
        threshold=threshold,
        positives=len(positives) / len(batches),
        purity_positives=100 * fmean(positives),
        negatives=len(negatives) / len(batches),
        purity_negatives=100 * fmean(negatives),
        auc=fmean(won),
        same_camera=100 * fmean(same_camera),
    )


@pytest.mark.parametrize('ratio', [0.1, 0.3])
def test_measure(ratio):
    generator = torch.Generator().manual_seed(1)
    features = F.normalize(torch.randn(24, 4, generator=generator))
    agents = torch.randn(5, 4, generator=generator)
    labels = (2 * features @ agents.t()).softmax(1)
    data = (features, labels, torch.arange(24) % 3, torch.arange(24) // 3 % 2)
    batches = [list(range(12)), list(range(6, 18)), list(range(1, 24, 2))]
    found = TOOL['measure'](*data, ratio, batches)
    assert found == pytest.approx(slow_measure(*data, ratio, batches))


def test_nothing_to_average():
    features, persons = F.normalize(torch.randn(6, 4)), torch.arange(6)
    labels = torch.full((6, 3), 1 / 3)
    row = TOOL['measure'](features, labels, persons, persons, 0.2, [range(6)])
    # All agree alike, so none agrees more than T; nobody is seen twice.
    assert row['positives'] == 0 and row['purity_positives'] is None
    assert row['negatives'] == 3 and row['purity_negatives'] == 0
    assert row['auc'] is None


@pytest.fixture
def run(monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['tool', *map(str, arguments)])
        TOOL['main']()

    return run


@pytest.fixture
def files(tiny_config, tmp_path):
    """A config and the checkpoint of an untrained model."""
    cfg = tiny_config()
    cfg.dump(str(tmp_path / 'tiny.py'))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    return cfg, tmp_path / 'tiny.py', tmp_path / 'model.pth', model.eval()


def test_table(files, run, tmp_path, capsys):
    cfg, config, checkpoint, model = files
    out = tmp_path / 'out.json'
    run(
        *(config, checkpoint, '--ratios', 0.1, 0.25, '--scales', 5, 20),
        *('--batches', 3, '--out', out),
    )
    rows = json.loads(out.read_text())
    assert [(row['scale'], row['ratio']) for row in rows] == [
        (5, 0.1), (5, 0.25), (20, 0.1), (20, 0.25),
    ]  # fmt: skip
    # int(p M) of the 28 pairs of a batch.
    assert [row['positives'] + row['negatives'] for row in rows] == [
        pytest.approx(k) for k in (2, 7, 2, 7)
    ]
    lines = capsys.readouterr().out.splitlines()
    assert '3 batches of 8 of 21 images, seed 0' in lines
    assert lines[-4].split()[:3] == ['5', '0.1', f'{rows[0]["threshold"]:.4f}']
    assert len({len(line) for line in lines[-5:]}) == 1

    # The same from the images, one after the other.
    dataset = DATASETS.build(
        dict(
            cfg.train_dataloader.dataset.target,
            labelled=True,
            pipeline=cfg.train_dataloader.dataset.pipeline,
        )
    )
    items = [dataset[i] for i in range(21)]
    persons, cameras = (
        torch.tensor([item['data_samples'][key] for item in items])
        for key in ('person_id', 'camera_id')
    )
    images = torch.stack([item['inputs'] for item in items])
    with torch.no_grad():
        features = model.extract_feat((images.flip(1).float() - 120) / 60)
    features = F.normalize(features)
    agents = F.normalize(model.head.agents.detach())
    labels = (20 * features @ agents.t()).softmax(1)
    sampler = TOOL['DomainSampler'](
        dict(target=range(21)), dict(target=8), seed=0
    )
    expected = TOOL['measure'](
        *(features, labels, persons, cameras, 0.25),
        [sampler.batch(k) for k in range(3)],
    )
    expected['scale'] = 20
    assert rows[3] == pytest.approx(expected, rel=1e-4)
    assert len(set(persons.tolist())) == 7


def test_what_does_not_fit(files, run):
    _, config, checkpoint, _ = files
    batch = 'train_cfg.stages.main.batch_size'
    target = 'train_dataloader.dataset.target'
    for arguments, message in (
        (('--batches', 0), '--batches must be 1 or more, got 0'),
        (('--ratios', 0.01), '--ratios: 0.01 of the 28 pairs of 8'),
        (('--cfg-options', f'{batch}.target=22'), 'only 21'),
        (('--cfg-options', f'{batch}.target=0'), "tiny.py' mines nothing"),
        (
            ('--cfg-options', f'{target}.type=ReIDFolder'),
            'has no labels, so nobody can say',
        ),
    ):
        with pytest.raises(ValueError, match=message):
            run(config, checkpoint, *arguments)
    text = config.read_text()
    for old, new in (('main=dict', 'other=dict'), ('target=dict', 'no=dict')):
        assert old in text
        config.write_text(text.replace(old, new))
        with pytest.raises(ValueError, match='mines nothing: name a config'):
            run(config, checkpoint)

"""Dead dimensions and effective rank against loops over them."""

import json
import math
import os.path as osp

import numpy as np
import pytest
import tiny_mar

TOOL = osp.join(tiny_mar.ROOT, 'tools/analysis_tools/feature_stats.py')


def slow_ranks(features):
    """By the singular values of the centred features, one by one."""
    values = np.linalg.svd(features - features.mean(0), compute_uv=False)
    total = sum(v**2 for v in values)
    shares = [v**2 / total for v in values]
    entropy = -sum(p * math.log(p) for p in shares if p > 1e-30)
    return math.exp(entropy), 1 / sum(p**2 for p in shares)


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 7)) * [5, 4, 3, 2, 1, 1e-3, 1e-8] + 9
    features[:, 3] = 2.5
    return features.astype(np.float32)


def test_table(features, run_main, tmp_path, capsys):
    extracted, saved, alike, out = (
        str(tmp_path / name) for name in ('a.npz', 'b.npz', 'c.npz', 'o.json')
    )
    np.savez(extracted, features=features, paths=np.array(['x'] * 40))
    np.savez(saved, query_features=features[:9], gallery_features=features[9:])
    np.savez(alike, features=features[:1].repeat(3, 0))
    assert run_main(TOOL, extracted, saved, alike, '--out', out) == 0
    rows = json.loads(open(out).read())
    rank, ratio = slow_ranks(features.astype(np.float64))
    assert 1 < ratio < rank < 5
    for row, file in zip(rows[:2], (extracted, saved), strict=True):
        assert row == dict(
            file=file,
            images=40,
            length=7,
            # The constant one, and the one that float32 rounds to 9.
            dead=2,
            effective_rank=pytest.approx(rank, rel=1e-5),
            participation_ratio=pytest.approx(ratio, rel=1e-5),
        )
    assert rows[2]['dead'] == 7 and rows[2]['effective_rank'] == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert lines[1].split() == [
        extracted, '40', '7', '2', f'{rank:.1f}', f'{ratio:.1f}',
    ]  # fmt: skip
    assert lines[3].split()[-3:] == ['7', '0.0', '0.0']


def test_ends_of_the_scale(run_main, tmp_path, capsys):
    file, out = str(tmp_path / 'a.npz'), str(tmp_path / 'o.json')
    directions = np.concatenate([np.eye(5), -np.eye(5)])
    one = np.arange(4.0)[:, None] * [[1, 2, 3]]
    for features, expected in ((directions, 5), (one, 1)):
        np.savez(file, features=features)
        assert run_main(TOOL, file, '--out', out) == 0
        (row,) = json.loads(open(out).read())
        assert row['effective_rank'] == pytest.approx(expected)
        assert row['participation_ratio'] == pytest.approx(expected)


def test_what_does_not_fit(features, run_main, tmp_path, capsys):
    file = str(tmp_path / 'a.npz')
    nan = features.copy()
    nan[2, 1] = np.nan
    for arrays, message in (
        (dict(query_features=features), 'or query_features and gallery_'),
        (dict(features=features[0]), r'(N, D), got float32 of shape (7,)'),
        (dict(features=nan), '40 images, of which 39 have finite'),
        (dict(features=features[:1]), 'two images or more, got 1 images'),
        (
            dict(query_features=features, gallery_features=features[:, 1:]),
            'got 7 for the query and 6 for the gallery',
        ),
        (dict(features=np.array([{}])), 'no .npz file that can be read'),
    ):
        np.savez(file, **arrays)
        assert run_main(TOOL, file) == 1
        assert message in capsys.readouterr().err
    assert run_main(TOOL, str(tmp_path / 'no.npz')) == 1
    assert "no.npz' do not exist" in capsys.readouterr().err
    (tmp_path / 'a.npz').write_text('text')
    assert run_main(TOOL, file) == 1
    assert 'no .npz file that can be read' in capsys.readouterr().err

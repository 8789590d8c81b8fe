import json

import numpy as np
import pytest
import torch
from sides import sides

from mmreid.errors import InputError
from mmreid.evaluation import (
    Evaluation,
    KReciprocalDistance,
    evaluate,
    load_features,
    rank_metrics,
    rank_queries,
    save_features,
)
from mmreid.structures import FeatureSet


def read_scores(out):
    scores = json.loads(out.read_text())
    assert scores.pop('provenance')['command']
    return scores


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return dict(
        query_features=rng.normal(size=(12, 6)).astype(np.float32),
        gallery_features=rng.normal(size=(80, 6)).astype(np.float32),
        query_ids=rng.integers(0, 5, 12),
        gallery_ids=rng.integers(0, 5, 80).astype(np.uint8),
        query_cams=rng.integers(0, 3, 12),
        gallery_cams=rng.integers(0, 3, 80),
    )


@pytest.fixture
def run(run_main, capsys):
    """The tool, in this process: exit status, output, errors."""

    def call(*args):
        return run_main('mmreid.evaluation', *args), *capsys.readouterr()

    return call


def test_written_and_read_again(tmp_path):
    generator = torch.Generator().manual_seed(0)
    sides = [
        FeatureSet(
            torch.randn(num, 3, generator=generator),
            torch.arange(num),
            torch.arange(num) % 2,
            [f'people/{i}.jpg' for i in range(num)],
        )
        for num in (2, 5)
    ]
    path = tmp_path / 'new' / 'features'  # no .npz is added
    save_features(str(path), *sides)
    for side, found in zip(sides, load_features(str(path)), strict=True):
        for name in ('features', 'person_id', 'camera_id'):
            assert torch.equal(getattr(side, name), getattr(found, name))
        assert found.paths == side.paths
    # Text: objects would need pickle, which can run any code.
    with np.load(path, allow_pickle=False) as file:
        assert file['gallery_paths'].tolist() == sides[1].paths


def test_what_is_unknown_is_not_written(tmp_path):
    path = str(tmp_path / 'f.npz')
    bare = FeatureSet(torch.ones(2, 3), torch.arange(2))
    named = FeatureSet(torch.ones(1, 3), torch.zeros(1).int(), paths=['ä.jpg'])
    save_features(path, bare, named)
    with np.load(path) as file:
        assert set(file) == {
            'query_features',
            'query_ids',
            'gallery_features',
            'gallery_ids',
            'gallery_paths',
        }
    query, gallery = load_features(path)
    assert query.camera_id is query.paths is gallery.camera_id is None
    assert gallery.paths == ['ä.jpg']
    with pytest.raises(ValueError, match='2 images are unknown'):
        save_features(path, bare, FeatureSet(torch.ones(2, 3)))


def test_scores_a_file(arrays, run, tmp_path):
    file, out = tmp_path / 'f.npz', tmp_path / 'metrics.json'
    per_query = tmp_path / 'queries.json'
    np.savez(file, **arrays)
    status, text, _ = run(
        file, '--out', out, '--per-query', per_query, '--neighbours', 3,
        '--metric', 'euclidean', '--ap', 'trapezoid', '--topk', 1, 7,
    )  # fmt: skip
    assert status == 0
    expected = rank_metrics(
        **arrays, metric='euclidean', ap='trapezoid', topk=(1, 7)
    )
    assert read_scores(out) == pytest.approx(expected)
    assert f'{expected["mAP"]:.2f}' in text and 'trapezoid' in text
    result = rank_queries(
        *sides(**arrays),
        metric='euclidean',
        ap='trapezoid',
        num_neighbours=3,
    )
    stored = json.loads(per_query.read_text())
    assert stored['ap'] == pytest.approx(result.ap.tolist())
    assert stored['neighbours'] == result.neighbours.tolist()
    assert stored['correct'] == result.correct.tolist()


def test_queries_without_match_are_null(arrays):
    arrays['query_ids'][0] = 99
    arrays['gallery_ids'] = arrays['gallery_ids'].astype(np.int64)
    stored = rank_queries(*sides(**arrays), num_neighbours=81).to_dict()
    assert stored['ap'][0] is stored['first_rank'][0] is None
    assert stored['neighbours'][0][-1] is stored['distances'][0][-1] is None
    json.dumps(stored, allow_nan=False)


@pytest.mark.parametrize(
    'options',
    [
        ['--rerank'],
        ['--expand', '4'],
        ['--protocol', 'cross-camera', '--ties', 'optimistic'],
    ],
)
def test_options_reach_the_score(arrays, run, tmp_path, options):
    file, out = tmp_path / 'f.npz', tmp_path / 'metrics.json'
    np.savez(file, **arrays)
    assert run(file, '--out', out, *options)[0] == 0
    scores = read_scores(out)
    assert scores != pytest.approx(rank_metrics(**arrays))


def test_roc(arrays, run, tmp_path):
    file, picture = tmp_path / 'f.npz', tmp_path / 'roc.png'
    np.savez(file, **arrays)
    status, text, _ = run(file, '--roc', picture)
    assert status == 0 and 'AUC' in text and 'TPR@FPR' in text
    assert picture.stat().st_size > 10_000


def test_ranked_once_for_all(arrays, run, tmp_path, monkeypatch):
    built = []

    class Counted(KReciprocalDistance):
        def __init__(self, *args, **kwargs):
            built.append(self)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(evaluate, 'KReciprocalDistance', Counted)
    file = tmp_path / 'f.npz'
    np.savez(file, **arrays)
    outputs = ['--roc', tmp_path / 'r.png', '--per-query', tmp_path / 'q.json']
    assert run(file, '--rerank', *outputs)[0] == 0
    assert len(built) == 1


def test_without_cameras(arrays, run, tmp_path):
    file, out = tmp_path / 'f.npz', tmp_path / 'metrics.json'
    bare = {k: v for k, v in arrays.items() if 'cams' not in k}
    np.savez(file, **bare)
    status, _, error = run(file)
    assert status == 1 and error.count('\n') == 1
    assert '--protocol no-cameras' in error and str(file) in error
    assert run(file, '--protocol', 'no-cameras', '--out', out)[0] == 0
    assert read_scores(out) == pytest.approx(
        rank_metrics(**bare, camera_rule='none')
    )


def broken(arrays, change):
    arrays = {**arrays, **change}
    return {k: v for k, v in arrays.items() if v is not None}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(gallery_ids=None), 'lacks gallery_ids: expected'),
        (dict(query_cams=None), 'cameras of one side only'),
        (
            dict(query_features=np.ones((12, 6), int)),
            'query_features .* must be floating point, got int64',
        ),
        (
            dict(query_features=np.ones((12, 6), np.longdouble)),
            'query_features .* of 64 bits at most',
        ),
        (
            dict(query_ids=np.ones(12)),
            'query_ids .* must be integers, got float64',
        ),
        (
            dict(query_ids=np.array(['a'] * 12)),
            'query_ids .* must be integers, got <U1',
        ),
        (
            dict(query_ids=np.array([None] * 12)),
            'query_ids .* holds objects',
        ),
        (
            dict(query_ids=np.ones(11, int)),
            r"query_ids of '.*npz' must hold .* \(12,\), got shape \(11,\)",
        ),
        (
            dict(gallery_features=np.ones(80)),
            r"gallery_features of '.*npz' must be a \(N, D\)",
        ),
        (
            dict(query_paths=np.array(['a.jpg'])),
            "query_paths of '.*npz' must hold .* 12, got 1",
        ),
        (
            dict(query_paths=np.arange(12)),
            'query_paths .* must be text, got int64',
        ),
        (
            dict(query_paths=np.array([None] * 12)),
            'query_paths .* holds objects',
        ),
    ],
)
def test_bad_arrays(arrays, tmp_path, change, message):
    file = tmp_path / 'f.npz'
    np.savez(file, **broken(arrays, change))
    with pytest.raises(ValueError, match=message):
        load_features(str(file))


def test_another_order_of_bytes(arrays, tmp_path):
    file, other = tmp_path / 'f.npz', tmp_path / 'other.npz'
    np.savez(file, **arrays)
    np.savez(
        other,
        **{
            name: array.astype(array.dtype.newbyteorder('>'))
            for name, array in arrays.items()
        },
    )
    for ours, same in zip(
        load_features(str(file)), load_features(str(other)), strict=True
    ):
        assert torch.equal(ours.features, same.features)
        assert torch.equal(ours.person_id, same.person_id)


def test_unknown_option_of_the_re_ranking():
    with pytest.raises(InputError, match="rerank has 'k3', but takes chunk_s"):
        Evaluation(rerank=dict(k1=5, k3=1))


def test_bad_files(tmp_path, run):
    with pytest.raises(FileNotFoundError, match='do not exist'):
        load_features(str(tmp_path / 'none.npz'))
    text, array = tmp_path / 'f.npz', tmp_path / 'g.npz'
    text.write_text('no features')
    with open(array, 'wb') as file:
        np.save(file, np.ones(3))
    for path in (text, array):
        with pytest.raises(ValueError, match='is no .npz file: write one by'):
            load_features(str(path))
    status, _, error = run(text)
    assert status == 1 and error.startswith('error: ')

import json
import os.path as osp
import runpy
import sys

import cv2
import numpy as np
import pytest
import tiny_mar
import torch
from scipy import stats

from mmreid.registry import MODELS

TOOL = runpy.run_path(
    osp.join(tiny_mar.ROOT, 'tools/analysis_tools/soft_multilabel_stats.py'),
    run_name='soft_multilabel_stats',
)
measure, normal_distance = TOOL['measure'], TOOL['normal_distance']


def test_log_normal_values_are_told_from_others():
    rng = np.random.default_rng(0)
    # Each person has a mean and a deviation of his or her own.
    normal = rng.normal(size=(400, 300)) * rng.uniform(1, 2, 300)
    exponential = rng.exponential(size=(400, 300))
    found = [measure(np.float32(x)) for x in (normal, exponential)]
    assert abs(found[0]['skewness']) < 0.05
    assert found[0]['person_skewness'] < 0.2
    assert found[0]['person_kurtosis'] < 0.3
    assert found[0]['person_distance'] < 0.05
    # The test is wrong about one in twenty.
    assert 90 < found[0]['person_normal'] < 99
    assert found[1]['skewness'] == pytest.approx(2, abs=0.1)
    assert found[1]['distance'] > 0.1 < found[1]['person_distance']
    assert found[1]['person_skewness'] > 1.5
    assert found[1]['person_normal'] == 0


def test_all_entries_together_may_be_normal_where_no_person_is():
    rng = np.random.default_rng(0)
    # Two images' worth of each person, far apart: sharp, but spread.
    entries = rng.normal(size=300) + 0.1 * rng.exponential(size=(400, 300))
    row = measure(entries)
    assert row['distance'] < 0.05 and row['person_distance'] > 0.1
    assert row['person_normal'] == 0


def test_distance_is_that_of_scipy():
    values = np.random.default_rng(0).gamma(2, size=(50, 3))
    for column, found in zip(values.T, normal_distance(values), strict=True):
        normal = stats.norm(column.mean(), column.std())
        slow = stats.kstest(column, normal.cdf)
        assert found == pytest.approx(slow.statistic)


def test_moments_are_those_of_all_entries():
    values = np.random.default_rng(0).gamma(2, size=(30, 700))
    row = measure(values)
    assert row['images'] == 30
    assert row['mean'] == pytest.approx(values.mean())
    assert row['std'] == pytest.approx(values.std())
    assert row['skewness'] == pytest.approx(stats.skew(values.ravel()))
    assert row['kurtosis'] == pytest.approx(stats.kurtosis(values.ravel()))
    # Persons are taken some at a time, but all of them.
    assert row['person_skewness'] == pytest.approx(
        np.median(abs(stats.skew(values)))
    )
    normal = stats.normaltest(values).pvalue > 0.05
    assert row['person_normal'] == pytest.approx(100 * normal.mean())


def test_too_little_for_some_columns():
    values = np.random.default_rng(0).normal(size=(19, 6))
    assert measure(values)['person_normal'] is None
    assert measure(values)['person_distance'] is not None
    one = measure(values[:1])
    assert one['person_distance'] is None and one['distance'] is not None
    with pytest.raises(ValueError, match='are the same'):
        measure(np.full((5, 6), -1.5))


@pytest.fixture
def run(monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['tool', *map(str, arguments)])
        TOOL['main']()

    return run


@pytest.fixture
def files(tiny_config, tmp_path):
    """A config and the checkpoint of an untrained model."""
    cfg = tiny_config(model__head__scale='auto')
    cfg.dump(str(tmp_path / 'tiny.py'))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    return tmp_path / 'tiny.py', tmp_path / 'model.pth'


def test_table_and_picture(files, run, tmp_path, capsys):
    out = tmp_path / 'new' / 'out.png'
    run(*files, '--out', out, '--cfg-options', 'model.head.scale=20')
    assert cv2.imread(str(out)) is not None
    rows = json.loads((tmp_path / 'new' / 'out.json').read_text())
    assert [row['camera'] for row in rows] == ['0', '1', '2', 'all']
    assert [row['images'] for row in rows] == [7, 7, 7, 21]
    lines = capsys.readouterr().out.splitlines()
    text = f'of 21 images and {tiny_mar.SOURCE_IDS} reference persons'
    assert any(text in line for line in lines)
    assert len({len(line) for line in lines[-6:-1]}) == 1


def test_what_does_not_fit(files, run, tmp_path):
    out = ('--out', tmp_path / 'out.png')
    # Untrained, so that it has not been measured.
    with pytest.raises(ValueError, match='scale of the cosines is measured'):
        run(*files, *out)
    with pytest.raises(ValueError, match='no validation identities'):
        run(*files, *out, '--val')
    target = 'train_dataloader.dataset.target=None'
    with pytest.raises(ValueError, match='has no target'):
        run(*files, *out, '--cfg-options', target)

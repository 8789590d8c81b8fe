"""Metafiles, records and the page of results agree."""

import runpy
from pathlib import Path

import pytest
import tiny_mar
import yaml

ROOT = Path(tiny_mar.ROOT)
STAT = runpy.run_path(str(ROOT / 'docs' / 'stat.py'))
MODELS = {
    model['Name']: model
    for metafile in STAT['load_metafiles']()
    for model in metafile['Models']
}
RESULTS = [
    (name, result)
    for name, model in MODELS.items()
    for result in model.get('Results', [])
]


def test_every_main_config_is_there():
    configs = {
        path.relative_to(ROOT).as_posix()
        for folder in (
            *('baseline', 'camera_proxies', 'cluster_contrast', 'spcl'),
            *('mar', 'tj_aidl'),
        )
        for path in (ROOT / 'configs' / folder).glob('*.py')
        if path.name != 'table.py'
    }
    assert configs == {model['Config'] for model in MODELS.values()}
    assert RESULTS


@pytest.mark.parametrize('name, result', RESULTS)
def test_results_are_those_of_the_record(name, result):
    record, line = STAT['load_line'](result)
    assert name == record['config']
    assert result['Dataset'].replace('-', '') == line['dataset']
    for metric, value in result['Metrics'].items():
        values = [metrics[metric] for metrics in line['metrics']]
        assert value == pytest.approx(sum(values) / len(values), abs=0.051)
    assert len(line['seeds']) == len(line['metrics'])


def test_every_record_of_a_table_is_named():
    records = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / 'benchmarks' / 'results').glob('*.json')
        if 'experiment' in yaml.safe_load(path.read_text())
    }
    assert records == {result['Record'] for _, result in RESULTS}


def test_pages_are_up_to_date():
    for path, text in STAT['pages']().items():
        assert (ROOT / path).read_text() == text, f'{path}: run docs/stat.py'

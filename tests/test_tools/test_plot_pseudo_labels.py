import json
import os.path as osp
import runpy

import pytest
import tiny_mar
from matplotlib.figure import Figure

from mmreid.errors import InputError

PATH = osp.join(tiny_mar.ROOT, 'tools/analysis_tools/plot_pseudo_labels.py')
MINED = dict(purity_positives=60.0, purity_negatives=30.0)
UNLABELLED = dict(clusters=7, clustered=50.0)
CLUSTERS = UNLABELLED | dict(
    cluster_purity=90.0, pair_precision=80.0, pair_recall=40.0, pair_f1=53.3
)


@pytest.mark.parametrize(
    'values', [MINED, CLUSTERS, UNLABELLED], ids=['mined', 'clusters', 'own']
)
def test_picture(run_main, monkeypatch, tmp_path, values):
    drawn = []
    save = Figure.savefig

    def note(self, *args, **kwargs):
        drawn.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, 'savefig', note)
    log, out = tmp_path / 'scalars.json', tmp_path / 'curves.png'
    lines = [dict(step=1, loss=2.0)]
    lines += [dict(values, step=step) for step in (5, 20, 50)]
    log.write_text('\n'.join(map(json.dumps, lines)))
    assert run_main(PATH, log, out) == 0
    assert out.stat().st_size
    (figure,) = drawn
    curves = [
        [*line.get_ydata()]
        for axes in figure.axes
        for line in axes.get_lines()
        if len(line.get_ydata())
    ]
    assert sorted(curves) == sorted([value] * 3 for value in values.values())


def test_another_log(run_main, capsys, tmp_path):
    log = tmp_path / 'scalars.json'
    log.write_text(json.dumps(dict(step=1, loss=2.0)))
    assert run_main(PATH, log, tmp_path / 'curves.png') == 1
    error = capsys.readouterr().err
    assert "scalars.json' logs neither mined pairs' purity nor clust" in error


def test_a_log_that_a_kill_cut_off(tmp_path):
    read_curves = runpy.run_path(PATH)['read_curves']
    log = tmp_path / 'scalars.json'
    line = json.dumps(dict(clusters=4, clustered=9.0, step=5))
    log.write_text(f'{line}\n{line[:12]}')
    assert read_curves(str(log))['clusters'] == [(5, 4)]
    log.write_text(f'{line[:12]}\n{line}')
    with pytest.raises(InputError, match=r"Line 1 of '.*scalars.json' is no"):
        read_curves(str(log))


def test_a_work_dir_of_a_resumed_run(tmp_path):
    read_curves = runpy.run_path(PATH)['read_curves']
    for time, values in (('1', {5: 1, 10: 2}), ('2', {10: 3, 15: 4})):
        folder = tmp_path / time / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'scalars.json').write_text(
            '\n'.join(
                json.dumps(dict(clusters=value, clustered=9.0, step=step))
                for step, value in values.items()
            )
        )
    with open(tmp_path / '2/vis_data/scalars.json', 'a') as file:
        file.write('\n' + json.dumps({'rank-1': 50.0, 'step': 15}))
    curves = read_curves(str(tmp_path))
    assert curves['clusters'] == [(5, 1), (10, 3), (15, 4)]


def test_no_log(run_main, capsys, tmp_path):
    for path in (tmp_path, tmp_path / 'scalars.json'):
        assert run_main(PATH, path, tmp_path / 'curves.png') == 1
        error = capsys.readouterr().err
        assert f"'{path}' must be a scalars.json, or a work dir" in error

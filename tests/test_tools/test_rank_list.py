import os.path as osp
import runpy

import pytest
import tiny_mar
import torch

from mmreid.registry import MODELS

TOOL = osp.join(tiny_mar.ROOT, 'tools/analysis_tools/rank_list.py')


@pytest.mark.parametrize('protocol', ['single-query', 'no-cameras'])
def test_the_protocol_says_what_is_ignored(
    tiny_config, tmp_path, monkeypatch, protocol
):
    """The nearest image may be of the query's own camera, or not."""
    cfg = tiny_config(test_evaluator__protocol=protocol)
    cfg.dump(str(tmp_path / 'tiny.py'))
    torch.manual_seed(0)
    states = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=states), tmp_path / 'model.pth')
    tool = runpy.run_path(TOOL, run_name='rank_list')
    drawn = []
    scope = tool['main'].__globals__
    monkeypatch.setitem(
        scope, 'draw_rank_list', lambda *args, **_: drawn.append(args)
    )
    command = ['rank_list.py', 'tiny.py', 'model.pth', '--out', 'ranks.png']
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', [*command, '--neighbours', '50'])
    tool['main']()
    ((query, gallery, neighbours, *_),) = drawn
    shown = {(i, j) for i, row in enumerate(neighbours.tolist()) for j in row}
    own = {
        (i, j)
        for i in range(len(query))
        for j in range(len(gallery))
        if query.person_id[i] == gallery.person_id[j]
        and query.camera_id[i] == gallery.camera_id[j]
    }
    assert own
    assert bool(own & shown) == (protocol == 'no-cameras')

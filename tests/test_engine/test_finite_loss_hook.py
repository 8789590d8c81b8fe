import json

import pytest
import tiny_mar
import torch
from tiny_mar import MINING, train

from mmreid.errors import InputError
from mmreid.models import MAR


def test_stops_and_names_the_files(
    benchmark, tmp_path, tiny_config, monkeypatch
):
    loss = MAR.loss

    def wrong(self, batch, info):
        losses = loss(self, batch, info)
        if info.iteration == MINING:
            losses['loss_al'] = losses['loss_al'] * float('nan')
        return losses

    monkeypatch.setattr(MAR, 'loss', wrong)
    record = dict(type='RecordHook')
    with pytest.raises(
        InputError, match=f"is nan in iteration {MINING + 1}, stage 'main'"
    ) as error:
        train(tiny_config(custom_hooks=[record]))
    path = tmp_path / 'run' / 'not_finite.json'
    assert str(path) in str(error.value)
    found = json.loads(path.read_text())
    assert (found['stage'], found['iteration']) == ('main', MINING + 1)
    assert found['values']['loss_al'] == 'nan'
    assert float(found['values']['loss_rj']) > 0
    # 8 of each domain, those that the sampler drew.
    for domain in ('source', 'target'):
        files = found['files'][domain]
        assert len(files) == 8
        assert all(f'{benchmark}/{domain}/' in file for file in files)
    # What was saved before is still there, and nothing after.
    names = {file.name for file in (tmp_path / 'run').glob('iter_*.pth')}
    assert f'iter_{MINING - 1}.pth' in names
    assert f'iter_{MINING + 1}.pth' not in names
    monkeypatch.undo()
    train(tiny_config(resume=True))
    assert (tmp_path / 'run' / f'iter_{tiny_mar.END}.pth').exists()


def test_stops_at_weights_that_are_no_numbers(
    tmp_path, tiny_config, monkeypatch
):
    """The loss of the last iteration says nothing of what it did."""
    step = MAR.train_step

    def wrong(self, data, optim_wrapper):
        losses = step(self, data, optim_wrapper)
        if data['info'].iteration == tiny_mar.END - 1:
            with torch.no_grad():
                next(self.backbone.parameters())[0] = float('nan')
        return losses

    monkeypatch.setattr(MAR, 'train_step', wrong)
    message = f'The weights are not finite after iteration {tiny_mar.END},'
    with pytest.raises(InputError, match=message):
        train(tiny_config())
    assert (tmp_path / 'run' / 'not_finite.json').exists()
    assert not (tmp_path / 'run' / f'iter_{tiny_mar.END}.pth').exists()
    assert not (tmp_path / 'run' / 'stage_main.pth').exists()

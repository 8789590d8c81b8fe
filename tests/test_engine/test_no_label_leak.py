import csv
import json
import os.path as osp
import random

import pytest
import tiny_mar
from tiny_mar import train

from mmreid.datasets import Market1501


def write_manifest(benchmark, file, relabel):
    """The target as a manifest, in the order of the paths."""
    dataset = Market1501(f'{benchmark}/target')
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    person_ids = relabel([info['person_id'] for info in infos])
    with open(file, 'w', newline='') as stream:
        writer = csv.writer(stream)
        writer.writerow(['path', 'person_id', 'camera_id'])
        for info, person_id in zip(infos, person_ids, strict=True):
            writer.writerow([info['img_path'], person_id, info['camera_id']])


@pytest.fixture
def run(tiny_config, benchmark, tmp_path):
    """Train on a target whose labels a function changed."""

    def run(name, relabel):
        file = str(tmp_path / f'{name}.csv')
        write_manifest(benchmark, file, relabel)
        target = dict(type='ReIDManifest', ann_file=file)
        cfg = tiny_config(
            name,
            train_dataloader__dataset__target=dict(
                target, _delete_=True, labelled=False
            ),
            custom_hooks=[dict(type='MiningPurityHook', dataset=target)],
        )
        runner = train(cfg)
        with open(
            osp.join(runner.log_dir, 'vis_data', 'scalars.json')
        ) as stream:
            lines = [json.loads(line) for line in stream]
        purity = [
            line[key]
            for line in lines
            for key in line
            if key.startswith('purity')
        ]
        return dict(runner.model.state_dict()), purity

    return run


def test_target_labels_do_not_reach_the_weights(run):
    states, purity = run('true', lambda ids: ids)
    # Pairs were mined, and their labels known to the log.
    assert states['memory.visited'].any() and any(purity)
    shuffled, other_purity = run(
        'shuffled', lambda ids: random.Random(0).sample(ids, len(ids))
    )
    tiny_mar.assert_same(shuffled, states)
    assert other_purity != purity
    # Nor does their number.
    alone, none_alike = run('alone', lambda ids: range(len(ids)))
    tiny_mar.assert_same(alone, states)
    assert not any(none_alike)

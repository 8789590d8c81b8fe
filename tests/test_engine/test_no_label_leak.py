import csv
import json
import os.path as osp
import random

import pytest
import tiny_mar
import tiny_tj_aidl
import torch
from mmengine.runner import Runner
from tiny_mar import train
from torch import nn

from mmreid.datasets import Market1501
from mmreid.engine import extract
from mmreid.errors import InputError
from mmreid.models.data_preprocessors import ReIDDataPreprocessor


class Constant(nn.Module):
    """A feature that is the same for all images."""

    def __init__(self):
        super().__init__()
        self.data_preprocessor = ReIDDataPreprocessor(
            mean=(0, 0, 0), std=(1, 1, 1)
        )

    def forward(self, inputs, mode):
        return inputs.new_ones(len(inputs), 2)


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
        cfg = tiny_config(
            name,
            train_dataloader__dataset__target=dict(
                _delete_=True,
                type='ReIDManifest',
                ann_file=file,
                labelled=False,
            ),
            default_hooks__pair_mining__purity=True,
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


def test_target_labels_do_not_reach_tj_aidl(benchmark, tmp_path):
    """Through all stages, of which 'adapt' alone sees the target."""
    states = {}
    for name, relabel in (
        ('true', lambda ids: ids),
        # Others, and of another number of persons.
        ('random', lambda ids: random.Random(0).choices(range(4), k=len(ids))),
    ):
        file = str(tmp_path / f'{name}.csv')
        write_manifest(benchmark, file, relabel)
        cfg = tiny_tj_aidl.tiny_config(
            benchmark,
            str(tmp_path / name),
            train_dataloader__dataset__target=dict(
                _delete_=True,
                type='ReIDManifest',
                ann_file=file,
                labelled=False,
            ),
            **{
                f'train_cfg__stages__{stage}__max_iters': 2
                for stage in ('identity', 'joint', 'adapt')
            },
        )
        train(cfg)
        states[name] = {
            stage: torch.load(
                f'{cfg.work_dir}/stage_{stage}.pth', weights_only=True
            )['state_dict']
            for stage in cfg.train_cfg.order
        }
    # The target was learned from.
    joint, adapted = (states['true'][s] for s in ('joint', 'adapt'))
    for key in joint:
        learns = key.startswith(('backbone.', 'attribute_classifier.', 'head'))
        assert torch.equal(joint[key], adapted[key]) != learns, key
    tiny_mar.assert_same(states['random'], states['true'])


def test_one_person_is_no_label(run):
    with pytest.raises(InputError, match='images are of one person'):
        run('one', lambda ids: [1] * len(ids))


def test_no_person_leaves_an_unlabelled_data_set(benchmark, tmp_path):
    """Not in entries, items, features, or what a pickle of it holds."""
    dataset = Market1501(
        f'{benchmark}/target',
        labelled=False,
        pipeline=[dict(type='LoadReIDImage'), dict(type='PackReIDInputs')],
        serialize_data=False,
    )
    persons = {
        Market1501(f'{benchmark}/target').get_data_info(i)['person_id']
        for i in range(len(dataset))
    }
    assert len(persons) > 2
    for index in range(len(dataset)):
        assert dataset.get_data_info(index)['person_id'] == -1
        assert dataset[index]['data_samples']['person_id'] == -1
    kept = [
        value
        for entry in dataset.data_list
        for key, value in entry.items()
        if key != 'camera_id'
    ]
    # Beside the paths, which the data set's authors wrote them in.
    assert {v for v in kept if isinstance(v, int)} <= {-1, 0, *range(21)}
    found = extract(Constant(), dataset)
    assert found.person_id is None and found.paths


def test_a_score_needs_two_persons(benchmark, tiny_config, tmp_path):
    file = str(tmp_path / 'one.csv')
    write_manifest(benchmark, file, lambda ids: [1] * len(ids))
    with open(file) as stream:
        rows = [line.strip() for line in stream]
    with open(file, 'w') as stream:
        stream.write(f'{rows[0]},split\n')
        for number, row in enumerate(rows[1:]):
            stream.write(f'{row},{"gallery" if number % 3 else "query"}\n')
    cfg = tiny_config(
        test_dataloader__dataset=dict(
            _delete_=True,
            type='ReIDManifest',
            ann_file=file,
            split='test',
            pipeline=[
                dict(type='LoadReIDImage'),
                dict(type='PackReIDInputs'),
            ],
        )
    )
    for labelled in (True, False):
        cfg.test_dataloader.dataset.labelled = labelled
        with pytest.raises(InputError, match='every match would be right'):
            Runner.from_cfg(cfg).test()

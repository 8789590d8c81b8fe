import csv
import json
import os.path as osp
import pickle
import random

import numpy as np
import pytest
import tiny_mar
import tiny_tj_aidl
import torch
from mmengine.runner import Runner
from tiny_mar import train
from torch import nn

from mmreid.datasets import DomainDataset, Market1501
from mmreid.engine import extract
from mmreid.errors import InputError
from mmreid.evaluation import save_features
from mmreid.models.data_preprocessors import ReIDDataPreprocessor
from mmreid.structures.batch_info import UNKNOWN_PERSON


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
    """Not in entries, items or features."""
    dataset = Market1501(
        f'{benchmark}/target',
        labelled=False,
        pipeline=[dict(type='LoadReIDImage'), dict(type='PackReIDInputs')],
        serialize_data=False,
    )
    for index in range(len(dataset)):
        assert dataset.get_data_info(index).keys() == {
            'img_path',
            'camera_id',
            'is_query',
            'sample_idx',
        }
        assert dataset[index]['data_samples'].keys() == {
            'camera_id',
            'is_query',
            'sample_idx',
            'skipped_idx',
        }
    found = extract(Constant(), dataset)
    assert found.person_id is None and found.paths
    assert found.camera_id.unique().tolist() == [0, 1, 2]
    # Where a labelled domain shares the batch, a number stands for nobody.
    market = dict(type='Market1501', pipeline=dataset.pipeline.transforms)
    domains = DomainDataset(
        source=dict(market, data_root=f'{benchmark}/source'),
        target=dict(market, data_root=f'{benchmark}/target', labelled=False),
    )
    spans = [d.span for d in domains.domains.values()]
    persons = [
        {domains[i]['data_samples']['person_id'] for i in span}
        for span in spans
    ]
    assert persons == [{*range(tiny_mar.SOURCE_IDS)}, {UNKNOWN_PERSON}]
    assert extract(Constant(), domains.images('target')).person_id is None
    # What would be scored is refused, even if only some are unknown.
    for images in (found, found.take(torch.arange(3))):
        with pytest.raises(InputError, match='persons on these .* unknown'):
            save_features(str(tmp_path / 'a.npz'), images, images)
    assert not (tmp_path / 'a.npz').exists()


def holds(content, person):
    """Whether bytes hold a number, as text or as a number of any kind."""
    forms = [str(person).encode()]
    for kind in ('i4', 'i8', 'f4', 'f8'):
        forms += [np.array(person, order + kind).tobytes() for order in '<>']
    return any(form in content for form in forms)


def test_no_file_of_a_training_holds_a_person(benchmark, tmp_path):
    """Ids that are recognisable in a checkpoint, a log and a cache."""
    secret = [76_543_211 + 2 * i for i in range(tiny_mar.NUM_TARGETS)]
    file = tmp_path / 'secret.csv'
    write_manifest(benchmark, str(file), lambda ids: secret)
    pipeline = [dict(type='LoadReIDImage'), dict(type='PackReIDInputs')]
    target = dict(
        type='ReIDManifest',
        ann_file=str(file),
        labelled=False,
        pipeline=pipeline,
        cache_dir=str(tmp_path / 'run/cache'),
    )
    cfg = tiny_mar.tiny_config(
        benchmark,
        str(tmp_path / 'run'),
        train_dataloader__dataset__target=dict(target, _delete_=True),
    )
    runner = train(cfg)
    dataset = runner.train_loop.dataset
    found = runner.train_loop.extract('target')
    torch.save(vars(found), tmp_path / 'run/features.pth')
    (tmp_path / 'run/pickle').write_bytes(pickle.dumps(dataset))
    files = [path for path in (tmp_path / 'run').rglob('*') if path.is_file()]
    suffixes = {path.suffix for path in files}
    assert suffixes >= {'.pth', '.py', '.json', '.log', '.npy'}
    for path in files:
        content = path.read_bytes()
        assert not any(holds(content, person) for person in secret), path
    # The search finds what is there.
    labelled = pickle.dumps(
        dataset.labelled('target')._all[0].load_records('train')
    )
    assert holds(labelled, secret[0]) and holds(file.read_bytes(), secret[0])


def test_the_purity_of_images_without_persons(run, benchmark, tmp_path):
    file = tmp_path / 'nobody.csv'
    write_manifest(benchmark, str(file), lambda ids: ids)
    with open(file) as stream:
        rows = [row.strip().split(',') for row in stream]
    file.write_text(''.join(f'{path},{cam}\n' for path, _, cam in rows))
    cfg = tiny_mar.tiny_config(
        benchmark,
        str(tmp_path / 'run'),
        train_dataloader__dataset__target=dict(
            _delete_=True,
            type='ReIDManifest',
            ann_file=str(file),
            labelled=False,
        ),
        default_hooks__pair_mining__purity=True,
    )
    with pytest.raises(
        InputError,
        match="target images have no identities .*nobody.csv' has no column",
    ):
        train(cfg)
    cfg.default_hooks.pair_mining.purity = False
    train(cfg)


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
    for labelled, message in (
        (True, 'every match would be right'),
        (False, 'of unknown persons, so no match is right or wrong'),
    ):
        cfg.test_dataloader.dataset.labelled = labelled
        with pytest.raises(InputError, match=message):
            Runner.from_cfg(cfg).test()

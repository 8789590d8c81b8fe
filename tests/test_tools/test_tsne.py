import os.path as osp
import runpy
import sys

import cv2
import pytest
import tiny_mar
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmreid.errors import InputError
from mmreid.registry import MODELS
from mmreid.visualization import embed_tsne

TOOL = runpy.run_path(
    osp.join(tiny_mar.ROOT, 'tools/analysis_tools/tsne.py'), run_name='tsne'
)
choose_persons = TOOL['choose_persons']


@pytest.fixture
def run(monkeypatch):
    """Run the tool, and give what it draws."""
    drawn = []
    scope = TOOL['main'].__globals__
    draw = scope['draw_tsne']

    def spy(*arguments):
        drawn[:] = arguments
        draw(*arguments)

    monkeypatch.setitem(scope, 'draw_tsne', spy)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['tsne.py', *map(str, arguments)])
        TOOL['main']()
        return drawn

    return run


@pytest.fixture
def files(tiny_config, tmp_path):
    """A config and the checkpoint of an untrained model."""
    cfg = tiny_config()
    cfg.dump(str(tmp_path / 'tiny.py'))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    # Buffers of a test in eval mode, which differ from those at start.
    model.state_dict()['backbone.bn1.running_var'].fill_(0.5)
    checkpoint = tmp_path / 'w' / 'model.pth'
    checkpoint.parent.mkdir()
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    return tmp_path / 'tiny.py', checkpoint, model.eval()


def test_panels(files, run, tmp_path, capsys):
    config, checkpoint, model = files
    other = tmp_path / 'other.py'
    other.write_text(
        "_base_ = 'tiny.py'\ntest_evaluator = [dict(type='DumpResults', "
        "out_file_path='x.pkl'), dict(type='ReIDMetric', "
        "metric='euclidean')]\n"
    )
    out = tmp_path / 'out.png'
    embeddings, names, persons, cameras, _ = run(
        *(config, checkpoint, f'{other}:{checkpoint}', '--identities', 3),
        *('--seed', 1, '--out', out),
    )
    assert cv2.imread(str(out)).shape[1] == 2 * 3.6 * 150
    assert names == ['w/model'] * 2
    chosen = sorted(set(persons))
    # Person 16 is in the gallery only, as distractors are.
    assert len(chosen) == 3 and set(chosen) <= set(range(11, 16))
    output = capsys.readouterr().out
    assert 'Seed 1, 12 images of the persons ' in output
    assert ', '.join(map(str, chosen)) in output
    # A query and three gallery images of each, in the order of the test set.
    assert persons == chosen + [p for p in chosen for _ in range(3)]
    assert cameras == [0] * 3 + [0, 1, 2] * 3

    folder = osp.join(osp.dirname(files_root(config)), 'target')
    rows = []
    for place, (person, camera) in enumerate(
        zip(persons, cameras, strict=True)
    ):
        part = 'query' if place < 3 else 'bounding_box_test'
        image = cv2.imread(
            f'{folder}/{part}/{person:04d}_c{camera + 1}s1_000000_00.png'
        )[..., ::-1].copy()
        image = (torch.from_numpy(image).float() - 120) / 60
        rows.append(image.permute(2, 0, 1))
    with torch.no_grad():
        features = model.extract_feat(torch.stack(rows))
    for embedding, metric in zip(
        embeddings, ('cosine', 'euclidean'), strict=True
    ):
        # The same neighbours: t-SNE enlarges what rounding leaves.
        expected = embed_tsne(features, metric)
        assert abs(embedding - expected).max() < 0.1 * abs(expected).max()


def files_root(config):
    """``target/..`` of the data the config reads."""
    cfg = tiny_mar.Config.fromfile(str(config))
    return cfg.test_dataloader.dataset.data_root


def test_names_options_and_validation(files, run, tmp_path):
    config, checkpoint, _ = files
    with open(config, 'a') as file:
        file.write('val_dataloader = dict(test_dataloader)\n')
        file.write('val_evaluator = test_evaluator\n')
    (tmp_path / 'table.py').write_text(
        "configs = ['tiny.py']\nrows = dict(row=dict(title='A row', "
        "test_evaluator=dict(metric='euclidean')))\n"
    )
    embeddings, names, persons, *_ = run(
        *(config, f'{config}:row:{checkpoint}', '--names', 'MAR'),
        *('--val', '--identities', 2),
        *('--out', tmp_path / 'out.png', '--cfg-options'),
        *('test_dataloader.dataset.data_root=/nowhere', 'model.amp=True'),
    )
    assert names == ['MAR'] and len(embeddings) == 1
    assert len(set(persons)) == 2


def test_what_does_not_fit(files, run, tmp_path):
    config, checkpoint, _ = files
    other = tmp_path / 'other.py'
    other.write_text(
        "_base_ = 'tiny.py'\ntest_dataloader = dict(dataset=dict("
        f"data_root='{osp.dirname(files_root(config))}/target', "
        "split='train'))\n"
    )
    elsewhere = tmp_path / 'elsewhere.py'
    elsewhere.write_text(
        "_base_ = 'tiny.py'\ntest_dataloader = dict("
        'dataset=dict(indices=range(18)))\n'
    )
    unlabelled = 'test_dataloader.dataset.labelled=False'
    for arguments, error, message in (
        ((checkpoint, '--identities', 6), ValueError, 'is 6.* 2 and 5'),
        ((checkpoint, '--identities', 1), ValueError, 'is 1.* 2 and 5'),
        ((f'{other}:{checkpoint}',), ValueError, 'between 2 and 0'),
        ((checkpoint, '--names', 'a', 'b'), ValueError, 'checkpoint, 1, got'),
        ((checkpoint, '--val'), ValueError, 'no val_dataloader'),
        (
            (checkpoint, '--cfg-options', unlabelled),
            ValueError,
            "tiny.py' has no identities",
        ),
        (
            (tmp_path / 'no.pth', '--identities', 2),
            FileNotFoundError,
            "no.pth' does not exist",
        ),
        (
            (checkpoint, f'{elsewhere}:{checkpoint}', '--identities', 5),
            ValueError,
            "elsewhere.py' tests other images than '.*tiny.py'",
        ),
    ):
        with pytest.raises(error, match=message):
            run(config, *arguments)


@given(
    images=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 1)),
        max_size=30,
    ),
    seed=st.integers(0, 3),
)
def test_choice(images, seed):
    keys = ('person_id', 'camera_id', 'is_query')
    infos = [dict(zip(keys, image, strict=True)) for image in images]
    eligible = {
        person
        for person, camera, _ in images
        if (person, True) in {(p, bool(q)) for p, _, q in images}
        and any(p == person and c != camera for p, c, _ in images)
    }
    if len(eligible) < 2:
        with pytest.raises(ValueError, match=f'2 and {len(eligible)},'):
            choose_persons(infos, 2, seed)
        return
    chosen = choose_persons(infos, 2, seed)
    assert len(set(chosen)) == 2 and set(chosen) <= eligible
    assert chosen == sorted(chosen)
    # The order of the images does not matter.
    assert choose_persons(infos[::-1], 2, seed) == chosen
    assert set(choose_persons(infos, len(eligible), seed)) == eligible


def test_a_config_without_a_test_set(files, run, tmp_path):
    config, checkpoint, _ = files
    own = tmp_path / 'own.py'
    own.write_text(
        "_base_ = 'tiny.py'\n"
        'test_dataloader = test_evaluator = test_cfg = None\n'
    )
    with pytest.raises(InputError, match=r"own\.py' has no test set"):
        run(own, checkpoint, '--out', tmp_path / 'tsne.png')

import os
import os.path as osp
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tiny_mar
import torch

from mmreid.apis import ReIDInferencer
from mmreid.evaluation import load_features
from mmreid.registry import MODELS
from mmreid.structures import FeatureSet


@pytest.fixture
def files(tiny_config, tmp_path):
    """A config and a checkpoint."""
    cfg = tiny_config(test_evaluator__metric='cosine')
    cfg.dump(str(tmp_path / 'tiny.py'))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.backbone.bn1.running_var.fill_(0.5)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    return str(tmp_path / 'tiny.py'), str(tmp_path / 'model.pth')


@pytest.fixture
def reid(files):
    return ReIDInferencer(*files, device='cpu')


def folder(benchmark, name='query'):
    return f'{benchmark}/target/{name}'


def test_a_folder_a_file_an_array(reid, benchmark):
    whole = reid(folder(benchmark))
    names = sorted(os.listdir(folder(benchmark)))
    paths = [osp.join(folder(benchmark), name) for name in names]
    assert list(whole.paths) == paths
    assert whole.features.shape == (5, 32)
    assert whole.person_id is None and whole.camera_id is None
    one = reid(paths[1])
    mixed = reid([paths[1], cv2.imread(paths[1])])
    assert list(mixed.paths) == [paths[1], '']
    for features in (one.features, mixed.features[1:]):
        torch.testing.assert_close(features, whole.features[1:2])
    # Features are used as they are.
    assert reid(whole) is whole


def test_compare(reid, benchmark):
    query = reid(folder(benchmark))
    gallery = reid(folder(benchmark, 'bounding_box_test'))
    distances = reid.compare(query, gallery)
    one, other = (
        x.features / x.features.norm(dim=1, keepdim=True)
        for x in (query, gallery)
    )
    torch.testing.assert_close(
        distances, 1 - one @ other.t(), rtol=1e-4, atol=1e-5
    )
    same = reid.compare(query.paths[0], query.paths[0])
    assert same.shape == (1, 1) and abs(same.item()) < 1e-5


def test_euclidean_by_the_config(files, tiny_config, benchmark):
    cfg = tiny_config(test_evaluator__metric='euclidean')
    reid = ReIDInferencer(cfg, files[1], 'cpu')
    query = reid(folder(benchmark))
    torch.testing.assert_close(
        reid.compare(query, query),
        torch.cdist(query.features, query.features),
        rtol=1e-3,
        atol=1e-2,
    )


def test_search_and_draw(reid, benchmark, tmp_path):
    gallery = reid(folder(benchmark, 'bounding_box_test'))
    found = reid.search(folder(benchmark), gallery, k=3)
    distances = reid.compare(found.query, gallery)
    for row, (neighbours, near) in enumerate(
        zip(found.neighbours.tolist(), found.distances.tolist(), strict=True)
    ):
        order = distances[row].argsort().tolist()
        assert neighbours == order[:3]
        assert near == pytest.approx(sorted(distances[row].tolist())[:3])
        assert found.paths()[row] == [gallery.paths[i] for i in neighbours]
    with pytest.raises(ValueError, match='unknown: give the FeatureSet its'):
        reid.search(found.query, replace(gallery, paths=None)).paths()
    picture = tmp_path / 'pictures' / 'found.png'
    reid.draw(found, str(picture), title='found')
    assert cv2.imread(str(picture)).shape[0] > 5 * 128
    # As many as there are.
    assert reid.search(found.query, gallery, k=99).neighbours.shape == (
        5,
        len(gallery),
    )
    with pytest.raises(ValueError, match='k must be 1 or more'):
        reid.search(found.query, gallery, k=0)


def test_many_queries_in_blocks(reid):
    torch.manual_seed(1)
    query = FeatureSet(torch.randn(600, 8))
    gallery = FeatureSet(torch.randn(50, 8))
    found = reid.search(query, gallery, k=2)
    distances = reid.compare(query, gallery)
    assert torch.equal(
        found.neighbours, distances.topk(2, largest=False).indices
    )


def test_what_is_missing(reid, files, benchmark, tmp_path):
    empty = tmp_path / 'empty'
    (empty / '.hidden').mkdir(parents=True)
    (empty / 'notes.txt').write_text('no image')
    for inputs, message in (
        (str(empty), 'holds no image'),
        (str(tmp_path / 'no'), "'.*no' is neither a file nor a folder"),
        ([folder(benchmark), str(tmp_path / 'no')], 'neither a file nor'),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            reid(inputs)
    with pytest.raises(OSError, match='notes.txt'):
        reid(str(empty / 'notes.txt'))
    with pytest.raises(FileNotFoundError, match="config '.*no.py' does not"):
        ReIDInferencer(str(tmp_path / 'no.py'), files[1])
    with pytest.raises(FileNotFoundError, match="'.*no.pth' does not exist"):
        ReIDInferencer(files[0], str(tmp_path / 'no.pth'))


def test_a_config_without_a_test(files, tiny_config):
    """As with a target without labels: the training data say it."""
    cfg = tiny_config(test_dataloader=None)
    cfg.train_dataloader.dataset.pipeline = [dict(type='PackReIDInputs')]
    reid = ReIDInferencer(cfg, files[1])
    assert reid.pipeline == [dict(type='PackReIDInputs')]
    cfg.train_dataloader.dataset.pop('pipeline')
    with pytest.raises(ValueError, match='neither test_dataloader.dataset.pi'):
        ReIDInferencer(cfg, files[1])


def test_checkpoint_of_another_model(files, tmp_path):
    states = torch.load(files[1])['state_dict']
    other = {f'net.{key}': value for key, value in states.items()}
    path = str(tmp_path / 'other.pth')
    torch.save(dict(state_dict=other), path)
    with pytest.raises(ValueError, match='another model than MAR.*lacks'):
        ReIDInferencer(files[0], path)


def test_tool_equals_the_test(files, run_main, benchmark, tmp_path):
    """Bit for bit, whatever the company and the size of the last batch."""
    config, checkpoint = files
    tools = osp.join(tiny_mar.ROOT, 'tools')
    tested = str(tmp_path / 'tested.npz')
    assert not run_main(
        f'{tools}/test.py',
        *(config, checkpoint, '--work-dir', tmp_path / 'w'),
        *('--save-features', tested),
    )
    gallery = folder(benchmark, 'bounding_box_test')
    out = str(tmp_path / 'new' / 'out.npz')
    assert not run_main(
        f'{tools}/extract.py',
        *(config, checkpoint, gallery, folder(benchmark)),
        *('--out', out, '--device', 'cpu'),
    )
    with np.load(out) as file:
        paths, features = file['paths'], file['features']
    assert features.dtype == np.float32 and features.shape == (23, 32)
    assert paths.shape == (23,) and paths.dtype.kind == 'U'
    query, found = load_features(tested)
    # Sorted by path, in each folder.
    expected = torch.cat([found.features, query.features])
    assert np.array_equal(features, expected.numpy())


def test_tool_names_the_mistake(files, run_main, tmp_path, capsys):
    tool = osp.join(tiny_mar.ROOT, 'tools/extract.py')
    for inputs in (tmp_path / 'no', files[0]):
        assert run_main(tool, *files, inputs, '--out', tmp_path / 'o.npz')
        error = capsys.readouterr().err.splitlines()[-1]
        assert re.match(f"error: .*'{inputs}'", error)
    assert not (tmp_path / 'o.npz').exists()


def test_mirrored_as_in_a_test(files, tiny_config, reid, benchmark):
    """``flip_test``: the mean of an image and its mirror image."""
    both = ReIDInferencer(tiny_config(model__flip_test=True), files[1], 'cpu')
    image = cv2.imread(
        folder(benchmark) + '/' + sorted(os.listdir(folder(benchmark)))[0]
    )
    one, mirrored = reid([image]), reid([image[:, ::-1].copy()])
    torch.testing.assert_close(
        both([image]).features, (one.features + mirrored.features) / 2
    )

import os.path as osp
import runpy
import sys

import cv2
import pytest
import tiny_mar
import tiny_tj_aidl
import torch

from mmreid.datasets.attributes import attribute_names, read_attributes
from mmreid.registry import MODELS

TOOL = runpy.run_path(
    osp.join(tiny_mar.ROOT, 'tools/analysis_tools/predicted_attributes.py'),
    run_name='predicted_attributes',
)
NAMES = attribute_names('market')
TEST = 'test_dataloader.dataset'


class Infos:
    """A data set of which only the entries are read."""

    def __init__(self, *infos):
        self.infos = infos

    def __len__(self):
        return len(self.infos)

    def get_data_info(self, index):
        return self.infos[index]


def test_of_each_person_two_cameras_are_shown():
    persons = [(5, 0), (5, 0), (5, 1), (7, 2), (7, 2), (9, 0), (0, 3), (0, 4)]
    dataset = Infos(*(dict(person_id=p, camera_id=c) for p, c in persons))
    assert TOOL['choose'](dataset, 9) == [[0, 2], [3, 4], [5]]
    assert TOOL['choose'](dataset, 2) == [[0, 2], [5]]


def test_images_without_persons_are_shown_one_by_one():
    dataset = Infos(*[dict(camera_id=0)] * 5)
    assert TOOL['choose'](dataset, 3) == [[0], [2], [4]]


def test_annotations_are_matched_by_their_names():
    info = dict(attributes=(1, 0, -1))
    found = TOOL['annotation'](
        info, ['hat', 'bag', 'gender'], ['gender', 'hat', 'boots', 'bag']
    )
    assert found == [-1, 1, -1, 0]


@pytest.fixture
def run(monkeypatch):
    """Run the tool, and give what it draws."""
    drawn = []
    scope = TOOL['choose'].__globals__
    draw = scope['draw_attributes']

    def spy(*arguments):
        drawn[:] = arguments
        draw(*arguments)

    monkeypatch.setitem(scope, 'draw_attributes', spy)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['tool', *map(str, arguments)])
        TOOL['main']()
        return drawn

    return run


@pytest.fixture
def files(benchmark, tmp_path):
    """A config, a checkpoint of an untrained model, and the model."""
    cfg = tiny_tj_aidl.tiny_config(benchmark, str(tmp_path / 'run'))
    cfg.dump(str(tmp_path / 'tiny.py'))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    return tmp_path / 'tiny.py', tmp_path / 'model.pth', model.eval()


def test_scores_are_the_attribute_branchs(files, run, tmp_path):
    config, checkpoint, model = files
    out = tmp_path / 'out.png'
    rows, names, *_ = run(config, checkpoint, '--out', out, '--num', 3)
    assert cv2.imread(str(out)) is not None
    assert names == NAMES
    # Of five queried persons and one more, each before three cameras.
    assert [len(row) for row in rows] == [2, 2, 2]
    for row in rows:
        first, second = (
            osp.basename(image.path).split('s')[0] for image in row
        )
        assert first[:4] == second[:4] and first != second
    for image in (image for row in rows for image in row):
        assert image.labels is None
        picture = torch.from_numpy(cv2.imread(image.path)[..., ::-1].copy())
        inputs = (picture.permute(2, 0, 1)[None].float() - 120) / 60
        with torch.no_grad():
            features = model.run_backbone(model.backbone, inputs)
            scores = model.attribute_classifier(features).sigmoid()[0]
        assert image.scores == pytest.approx(scores.tolist(), rel=1e-4)


def test_annotated_images_are_judged(files, run, benchmark, tmp_path, capsys):
    config, checkpoint, _ = files
    # The only annotated persons are the source's.
    rows, names, *_ = run(
        *(config, checkpoint, '--out', tmp_path / 'out.png', '--num', 3),
        *('--cfg-options', f'{TEST}.data_root={benchmark}/source'),
        f'{TEST}.attribute_file={tmp_path}/market_attribute.mat',
        f'{TEST}.split=train',
    )
    known = right = 0
    for image in (image for row in rows for image in row):
        person = int(osp.basename(image.path)[:4])
        labels = read_attributes(
            f'{tmp_path}/market_attribute.mat', 'market', 'train'
        )[person]
        assert image.labels == list(labels)
        for score, label in zip(image.scores, labels, strict=True):
            known += label >= 0
            right += label >= 0 and (score > 0.5) == (label == 1)
    text = f'{100 * right / known:.1f} % of {known} annotated attributes'
    assert text in capsys.readouterr().out


def test_what_does_not_fit(files, run, tmp_path, tiny_config):
    config, checkpoint, _ = files
    out = ('--out', tmp_path / 'o.png')
    source = 'train_dataloader.dataset.source'
    for arguments, message in (
        (('--num', 0), '--num must be 1 or more, got 0'),
        (('--val',), 'no validation identities'),
        (('--cfg-options', f'{source}=None'), 'no source with attributes'),
        (
            ('--cfg-options', f'{source}.type=VIPeR'),
            'no source with attributes',
        ),
        (
            ('--cfg-options', f'{source}.age=one_hot'),
            'predicts 27 attributes, but the source of .* has 30',
        ),
        (
            ('--cfg-options', 'model.num_attributes=23'),
            'checkpoint holds an attribute classifier of 27',
        ),
    ):
        with pytest.raises(ValueError, match=message):
            run(config, checkpoint, *out, *arguments)
    cfg = tiny_config()
    cfg.dump(str(tmp_path / 'mar.py'))
    weights = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=weights), tmp_path / 'mar.pth')
    with pytest.raises(ValueError, match='MAR, which predicts no attributes'):
        run(tmp_path / 'mar.py', tmp_path / 'mar.pth', *out)

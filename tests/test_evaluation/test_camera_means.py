"""Camera means: against an oracle, in every evaluation, and by the command."""

import json

import numpy as np
import pytest
import torch

from mmreid.evaluation import (
    PROTOCOLS,
    Evaluation,
    camera_means,
    center_cameras,
    load_features,
    load_training_features,
    rank_metrics,
    save_features,
    subtract_camera_means,
)
from mmreid.evaluation.protocols import SingleGalleryShot
from mmreid.structures import FeatureSet

LENGTH = 6


def images(num, seed, persons=5, cameras=3):
    """Random features, those of each camera around a point of its own."""
    rng = np.random.default_rng(seed)
    camera_id = rng.permutation(np.arange(num) % cameras)
    places = np.random.default_rng(9).normal(0, 2, (cameras, LENGTH))
    features = rng.normal(size=(num, LENGTH)) + places[camera_id]
    return FeatureSet(
        torch.tensor(features, dtype=torch.float32),
        torch.tensor(rng.permutation(np.arange(num) % persons)),
        torch.tensor(camera_id),
        [f'{i}.jpg' for i in range(num)],
    )


@pytest.fixture
def sets():
    """Query, gallery and training images."""
    return images(12, 0), images(80, 1), images(40, 2)


def rows_of(side, unit):
    """Lists of floats, of unit norm if it is asked for."""
    rows = side.features.double().tolist()
    if unit:
        rows = [
            [x / sum(y * y for y in row) ** 0.5 for x in row] for row in rows
        ]
    return rows


def subtracted(side, means_of, unit):
    """The slow and obvious way: image by image, number by number."""
    others = rows_of(means_of, unit)
    result = []
    for row, camera in zip(
        rows_of(side, unit), side.camera_id.tolist(), strict=True
    ):
        same = [
            other
            for other, c in zip(
                others, means_of.camera_id.tolist(), strict=True
            )
            if c == camera
        ]
        means = [sum(column) / len(same) for column in zip(*same, strict=True)]
        result.append([x - m for x, m in zip(row, means, strict=True)])
    return torch.tensor(result, dtype=torch.float32)


def expected(query, gallery, means_of, metric='cosine', **options):
    unit = metric == 'cosine'
    return rank_metrics(
        subtracted(query, means_of, unit),
        subtracted(gallery, means_of, unit),
        query.person_id,
        gallery.person_id,
        query.camera_id,
        gallery.camera_id,
        metric=metric,
        **options,
    )


def test_equals_the_oracle(sets):
    query, _, training = sets
    found = subtract_camera_means(query, camera_means(training))
    torch.testing.assert_close(
        found.features, subtracted(query, training, False)
    )
    assert found.features.dtype == torch.float32
    for name in ('person_id', 'camera_id', 'paths'):
        assert getattr(found, name) is getattr(query, name)


def test_means_of_any_camera_ids():
    features = torch.tensor([[1.0, 2], [3, 4], [7, 7]])
    means = camera_means(
        FeatureSet(features, camera_id=torch.tensor([9, 2, 9]))
    )
    assert means.camera_id.tolist() == [2, 9]
    assert means.features.tolist() == [[3, 4], [4, 4.5]]
    # A mean of no scored camera does no harm.
    one = FeatureSet(features[:1], camera_id=torch.tensor([9]))
    assert subtract_camera_means(one, means).features.tolist() == [[-3, -2.5]]


def test_own_means_leave_something_of_a_camera_of_one_image():
    features = torch.tensor([[1.0, 2], [3, 4], [8, 9]])
    images = FeatureSet(features, camera_id=torch.tensor([9, 9, 2]))
    found = center_cameras(images)
    assert found.features.tolist() == [[-1, -1], [1, 1], [4, 4]]
    alone = FeatureSet(features[:2], camera_id=torch.tensor([0, 1]))
    assert center_cameras(alone).features.tolist() == [[-1, -1], [1, 1]]


def test_sums_are_taken_in_float64():
    # In float32 the last rows would be lost.
    features = torch.tensor([[2.0**25], *[[1.0]] * 3])
    same = FeatureSet(features, camera_id=torch.zeros(4).int())
    assert camera_means(same).features.item() == (2**25 + 3) / 4
    halves = FeatureSet(
        torch.ones(2, 1).half(), camera_id=torch.zeros(2).int()
    )
    left = subtract_camera_means(halves, camera_means(halves))
    assert left.features.dtype == torch.float32


@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
@pytest.mark.parametrize('which', ['train', 'gallery'])
def test_scores(sets, metric, which):
    query, gallery, training = sets
    evaluation = Evaluation(metric=metric, camera_mean=which)
    found = evaluation(query, gallery, training)
    means_of = training if which == 'train' else gallery
    assert found == pytest.approx(expected(query, gallery, means_of, metric))
    plain = Evaluation(metric=metric)(query, gallery)
    assert found['mAP'] > plain['mAP'] + 1
    # Persons of the training images, or their absence, do not matter.
    bare = FeatureSet(training.features, camera_id=training.camera_id)
    assert evaluation(query, gallery, bare) == found


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize(
    'options', [{}, dict(expand=3), dict(rerank={})], ids=str
)
def test_before_everything_else(sets, protocol, options):
    query, gallery, training = sets
    without = [
        FeatureSet(
            subtracted(side, training, True), side.person_id, side.camera_id
        )
        for side in (query, gallery)
    ]
    protocol = PROTOCOLS[protocol]
    if isinstance(protocol, SingleGalleryShot):
        protocol = SingleGalleryShot(repeats=2)
    options = dict(options, protocol=protocol)
    found = Evaluation(camera_mean='train', **options)(*sets)
    assert found == pytest.approx(Evaluation(**options)(*without))


def bare(side):
    return FeatureSet(side.features, side.person_id)


def test_errors(sets):
    query, gallery, training = sets
    means = camera_means(training)
    fewer = camera_means(training.take(training.camera_id != 1))
    shorter = FeatureSet(means.features[:, 1:], camera_id=means.camera_id)
    unknown = FeatureSet(
        torch.ones(2, LENGTH), camera_id=torch.tensor([0, -1])
    )
    for message, call in {
        'no mean of camera 1, only of 0, 2: take the means': (
            lambda: subtract_camera_means(query, fewer)
        ),
        'have length 6, but the camera means have length 5': (
            lambda: subtract_camera_means(query, shorter)
        ),
        'Cameras of these 12 images are unknown': (
            lambda: subtract_camera_means(bare(query), means)
        ),
        'Cameras of these 40 images are unknown': (
            lambda: camera_means(bare(training))
        ),
        'Cameras of these 2 images are unknown': (
            lambda: camera_means(unknown)
        ),
        'There is no image': (
            lambda: camera_means(training.take(torch.zeros(40).bool()))
        ),
        "camera_mean='train' needs the features of training images": (
            lambda: Evaluation(camera_mean='train')(query, gallery)
        ),
        'camera_mean must be one of': lambda: Evaluation(camera_mean='query'),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match='and got none'):
        Evaluation(camera_mean='train').title(gallery)
    training.features[3, 2] = torch.nan
    with pytest.raises(ValueError, match='train features row 3 holds NaN'):
        Evaluation(camera_mean='train')(*sets)
    camera = training.camera_id[3].item()
    with pytest.raises(ValueError, match=f'camera {camera} is not finite'):
        Evaluation(camera_mean='train', metric='euclidean')(*sets)


@pytest.fixture
def run(run_main, capsys):
    """The command, in this process: exit status, output, errors."""

    def call(*args):
        return run_main('mmreid.evaluation', *args), *capsys.readouterr()

    return call


def scores_of(out):
    scores = json.loads(out.read_text())
    return scores, scores.pop('provenance')['evaluation']


def test_training_images_in_a_file(sets, tmp_path):
    file = str(tmp_path / 'f.npz')
    query, gallery, training = sets
    save_features(file, *sets)
    with np.load(file) as arrays:
        # Never their persons.
        assert 'train_ids' not in arrays
        np.savez(tmp_path / 'ids.npz', **arrays, train_ids=np.arange(40))
    for name in ('f.npz', 'ids.npz'):
        found = load_training_features(str(tmp_path / name))
        assert torch.equal(found.features, training.features)
        assert torch.equal(found.camera_id, training.camera_id)
        assert (found.person_id, found.paths) == (None, training.paths)
    assert torch.equal(load_features(file)[0].features, query.features)


@pytest.mark.parametrize(
    ('option', 'title'),
    [
        ([], 'camera means of 40 training images subtracted'),
        (['train'], 'camera means of 40 training images subtracted'),
        (
            ['gallery'],
            'camera means of the 80 gallery images subtracted (transductive)',
        ),
    ],
    ids=str,
)
def test_command(sets, run, tmp_path, option, title):
    file, out = tmp_path / 'f.npz', tmp_path / 'out.json'
    query, gallery, training = sets
    save_features(str(file), *sets)
    status, text, _ = run(
        *(file, '--out', out, '--roc', tmp_path / 'roc.png'),
        *('--camera-mean', *option),
    )
    assert status == 0 and title in text
    scores, said = scores_of(out)
    means_of = gallery if option == ['gallery'] else training
    wanted = expected(query, gallery, means_of)
    assert {k: scores[k] for k in wanted} == pytest.approx(wanted)
    assert title in said
    # Not given, nothing is subtracted.
    status, text, _ = run(file, '--out', out)
    assert status == 0 and 'camera means' not in text
    plain, said = scores_of(out)
    assert plain['mAP'] < scores['mAP'] and 'camera means' not in said


def test_command_errors(sets, run, tmp_path):
    file = tmp_path / 'f.npz'
    query, gallery, training = sets
    save_features(str(file), query, gallery)
    status, _, error = run(file, '--camera-mean')
    assert status == 1 and error.count('\n') == 1
    assert f"'{file}' has no train_features and no train_cams" in error
    assert '--camera-mean gallery' in error
    assert run(file, '--camera-mean', 'query')[0] == 2
    save_features(str(file), query, gallery, bare(training))
    error = run(file, '--camera-mean')[2]
    assert f"'{file}' has no train_cams, of which" in error
    save_features(str(file), bare(query), bare(gallery), training)
    status, _, error = run(file, '--camera-mean', '--protocol', 'no-cameras')
    assert status == 1 and 'Cameras of these 12 images are unknown' in error

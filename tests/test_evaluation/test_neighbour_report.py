import pytest
import torch

from mmreid.evaluation import neighbour_report
from mmreid.structures import FeatureSet


def by_hand(features, cameras):
    """The three shares, image by image."""
    distance = torch.cdist(features, features)
    num = len(features)
    nearest, across, chances = [], [], []
    for i in range(num):
        others = [j for j in range(num) if j != i]
        foreign = [j for j in others if cameras[j] != cameras[i]]
        nearest.append(min(others, key=lambda j: distance[i, j]))
        across.append(min(foreign, key=lambda j: distance[i, j]))
        chances.append(len(foreign) / len(others))
    crosses = sum(cameras[j] != cameras[i] for i, j in enumerate(nearest))
    mutual = sum(across[j] == i for i, j in enumerate(across))
    return crosses / num, sum(chances) / num, mutual / num, nearest, across


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    cameras = torch.randint(3, (40,), generator=generator)
    # A camera's images lie closer together.
    return FeatureSet(features + cameras[:, None], camera_id=cameras)


@pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
@pytest.mark.parametrize('chunk_size', [None, 7])
def test_shares(images, metric, chunk_size):
    features = images.features
    if metric == 'cosine':
        features = torch.nn.functional.normalize(features)
    *shares, _, _ = by_hand(features, images.camera_id.tolist())
    report = neighbour_report(images, metric, chunk_size=chunk_size)
    assert report.pop('num_images') == 40 and report.pop('num_cameras') == 3
    names = (
        *('nearest_across_cameras', 'by_chance'),
        'mutual_across_cameras',
    )
    assert [*report] == [*names]
    for name, share in zip(names, shares, strict=True):
        assert report[name] == pytest.approx(100 * share), name
    assert 0 < report['nearest_across_cameras'] < report['by_chance'] < 100


def test_where_persons_are_told_apart_all_are_mutual():
    people = torch.eye(5).repeat_interleave(2, 0)
    cameras = torch.arange(10) % 2
    report = neighbour_report(FeatureSet(people, camera_id=cameras))
    assert report['nearest_across_cameras'] == 100
    assert report['mutual_across_cameras'] == 100


@pytest.mark.parametrize('cameras', [None, torch.zeros(6, dtype=torch.int64)])
def test_one_camera_has_no_shares(cameras):
    images = FeatureSet(torch.eye(6), camera_id=cameras)
    assert neighbour_report(images) == dict(
        num_images=6, num_cameras=0 if cameras is None else 1
    )


def test_unknown_cameras_are_left_out(images):
    camera_id = images.camera_id.clone()
    camera_id[::4] = -1
    known = camera_id >= 0
    mixed = FeatureSet(images.features, camera_id=camera_id)
    asked = []

    def agreement(first, second):
        asked.append((first, second))
        return torch.zeros(len(first))

    report = neighbour_report(mixed, agreement=agreement)
    report.pop('agreement')
    assert report == neighbour_report(images.take(known))
    # The algorithm is asked by its own numbers.
    ((first, second),) = asked
    assert first.tolist() == known.nonzero()[:, 0].tolist()
    assert known[second].all()


@pytest.mark.parametrize('several', [True, False])
def test_agreement_of_nearest_images(images, several):
    *_, nearest, across = by_hand(images.features, images.camera_id.tolist())
    if not several:
        images = FeatureSet(images.features)
    pairs = enumerate(across if several else nearest)
    expected = torch.tensor([float(10 * i + j) for i, j in pairs])
    report = neighbour_report(
        images, 'euclidean', lambda i, j: (10 * i + j).float()
    )
    levels = expected.quantile(torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9]))
    assert report['agreement'] == pytest.approx(levels.tolist())


def test_equal_images_are_each_others_nearest_by_index():
    images = FeatureSet(torch.ones(3, 2), camera_id=torch.tensor([0, 1, 1]))
    report = neighbour_report(images)
    # 0 -> 1, 1 -> 0, 2 -> 0.
    assert report['nearest_across_cameras'] == pytest.approx(100)
    assert report['mutual_across_cameras'] == pytest.approx(200 / 3)


def test_no_image_and_one():
    for num in (0, 1):
        images = FeatureSet(
            torch.ones(num, 2), camera_id=torch.zeros(num, dtype=torch.int64)
        )
        assert neighbour_report(images)['num_images'] == num

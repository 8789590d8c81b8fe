import numpy as np
import pytest
import torch
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from mmreid.errors import InputError
from mmreid.evaluation import camera_aware_jaccard_graph, jaccard_graph
from mmreid.models import JaccardDBSCAN, KMeans
from mmreid.structures import FeatureSet

torch.set_num_threads(1)


def people(num_people=30, per_person=8, noise=0.4, num_cameras=3):
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(num_people), per_person)
    features = rng.normal(size=(num_people, 16))[ids]
    features += noise * rng.normal(size=features.shape)
    cameras = rng.integers(0, num_cameras, len(ids))
    return FeatureSet(
        torch.from_numpy(features).float(), camera_id=torch.from_numpy(cameras)
    ), ids


def dense(graph):
    """What is beyond the radius is far; zeros are kept."""
    whole = np.ones(graph.shape)
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    whole[rows, graph.indices] = graph.data
    return whole


@pytest.mark.parametrize('noise', [0.4, 0.9])
@pytest.mark.parametrize(
    'camera_aware, neighbours',
    [(False, dict(k1=10, k2=3)), (True, dict(k1_intra=3, k1_inter=6))],
)
def test_equals_dbscan_of_the_whole_matrix(noise, camera_aware, neighbours):
    images, ids = people(noise=noise)
    labels = JaccardDBSCAN(0.5, 3, camera_aware, **neighbours)(images)
    graph = camera_aware_jaccard_graph if camera_aware else jaccard_graph
    expected = DBSCAN(0.5, min_samples=3, metric='precomputed').fit_predict(
        dense(graph(images, 0.5, **neighbours))
    )
    assert labels.dtype == torch.int64
    assert labels.tolist() == expected.tolist()
    if noise < 0.5:
        assert adjusted_rand_score(ids, labels) > 0.9
    else:
        assert (labels == -1).any()


def test_equal_images_are_one_cluster():
    features = torch.eye(3).repeat_interleave(5, 0)
    labels = JaccardDBSCAN(0.1, 4, k1=4, k2=2)(FeatureSet(features))
    assert labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5


def test_pairs_across_two_cameras():
    """With a neighbour in each camera, as the configs of VIPeR have it."""
    torch.manual_seed(0)
    people = torch.randn(20, 16)
    # The light of a camera brings its images nearer to each other.
    light = 0.3 * torch.randn(2, 1, 16)
    features = (people + light + 0.1 * torch.randn(2, 20, 16)).flatten(0, 1)
    camera_id = torch.arange(2).repeat_interleave(20)
    images = FeatureSet(features, camera_id=camera_id)
    one = dict(k1_intra=1, k1_inter=1, k2_intra=1, k2_inter=1)
    first, second = JaccardDBSCAN(0.4, 2, True, **one)(images).chunk(2)
    assert sorted(first.tolist()) == list(range(20))
    assert first.tolist() == second.tolist()
    first, second = JaccardDBSCAN(0.4, 2, k1=2, k2=1)(images).chunk(2)
    assert (first < 0).sum() > 5


def test_k_means():
    images, ids = people()
    labels = KMeans(30)(images)
    assert adjusted_rand_score(ids, labels) > 0.8
    assert labels.tolist() == KMeans(30)(images).tolist()
    # Of the direction alone.
    longer = FeatureSet(images.features * torch.arange(1, 241)[:, None])
    assert adjusted_rand_score(KMeans(30)(longer), labels) > 0.99


@pytest.mark.parametrize(
    'build, message',
    [
        (lambda: JaccardDBSCAN(eps=1), r'eps of JaccardDBSCAN must be in \(0'),
        (lambda: JaccardDBSCAN(min_samples=1), 'whole number of 2 or more'),
        (
            lambda: JaccardDBSCAN(camera_aware=True, k1=30),
            "no option 'k1' with camera_aware=True; the options .* k1_intra",
        ),
        (lambda: KMeans(0)(people()[0]), 'is 0, but must be between 1'),
        (lambda: KMeans(241)(people()[0]), 'number of images, 240'),
        (
            lambda: JaccardDBSCAN(k1=240)(people()[0]),
            'k1 less than the 240 images',
        ),
    ],
)
def test_options_out_of_range(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_k_means_of_a_fraction():
    with pytest.raises(InputError, match='must be a whole number, but is 2.5'):
        KMeans(2.5)

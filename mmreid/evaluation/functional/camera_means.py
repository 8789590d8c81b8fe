"""Features without what all images of a camera share, and nothing trained."""

from dataclasses import replace

import torch
from torch import Tensor

from mmreid.errors import InputError
from mmreid.structures import FeatureSet

__all__ = ['camera_means', 'subtract_camera_means']


def camera_means(images: FeatureSet) -> FeatureSet:
    """The mean feature of each camera.

    Features are taken as they are, of any length: for means of unit vectors,
    give unit vectors. Persons are not read.

    Args:
        images (FeatureSet): N images of C cameras.

    Returns:
        FeatureSet: C rows in the order of the camera ids; ``features``
        (C, D), float64, in which the sums are taken, and ``camera_id`` (C,).

    Raises:
        InputError: If there is no image, the cameras are unknown, or a
            feature is not finite.

    Examples:
        >>> import torch
        >>> from mmreid.structures import FeatureSet
        >>> images = FeatureSet(
        ...     torch.tensor([[1.0, 0], [3, 2], [5, 5]]),
        ...     camera_id=torch.tensor([0, 0, 4]),
        ... )
        >>> camera_means(images).features.tolist()
        [[2.0, 1.0], [5.0, 5.0]]
    """
    if not len(images):
        raise InputError('There is no image to take camera means of.')
    cameras = _known_camera_id(images)
    ids = cameras.unique()
    means = torch.stack(
        [
            images.features[cameras == camera].mean(0, dtype=torch.float64)
            for camera in ids
        ]
    )
    bad = ids[~means.isfinite().all(1)].tolist()
    if bad:
        raise InputError(
            f'The mean feature of camera {bad[0]} is not finite: features of '
            'its images hold NaN or inf. Check the model and its precision.'
        )
    return FeatureSet(means, camera_id=ids)


def subtract_camera_means(images: FeatureSet, means: FeatureSet) -> FeatureSet:
    """Subtract from each image the mean feature of its camera.

    What all images of a camera share, such as its light and background, says
    nothing of a person. After `Exploring the Camera Bias of Person
    Re-identification <https://arxiv.org/abs/2502.10195>`_, which also divides
    by the camera's standard deviation; this does not.

    Nothing is normalised here. :class:`mmreid.evaluation.Evaluation` takes
    unit vectors, of images and of those behind the means, where it ranks by
    the cosine, so that no image weighs more than another.

    Args:
        images (FeatureSet): N images.
        means (FeatureSet): What :func:`camera_means` gives, of these images
            or of others before the same cameras; their camera ids must mean
            the same.

    Returns:
        FeatureSet: The same images; ``features`` (N, D) of at least float32,
        not normalised.

    Raises:
        InputError: If the cameras are unknown, one of them has no mean, or
            the features differ in length.
    """
    means = means.to(images.features.device)
    length, wanted = images.features.shape[1], means.features.shape[1]
    if length != wanted:
        raise InputError(
            f'The features have length {length}, but the camera means have '
            f'length {wanted}: take both from one model.'
        )
    cameras, known = _known_camera_id(images), _known_camera_id(means)
    missing = cameras[~torch.isin(cameras, known)].unique().tolist()
    if missing:
        raise InputError(
            f'There is no mean of camera {", ".join(map(str, missing))}, '
            f'only of {", ".join(map(str, known.tolist()))}: take the means '
            'of images of all cameras that are scored, with the same ids.'
        )
    features = images.features
    output = torch.empty_like(
        features, dtype=torch.promote_types(features.dtype, torch.float32)
    )
    # Camera by camera: a float64 copy of all features would be large.
    for camera, mean in zip(known, means.features, strict=True):
        rows = cameras == camera
        output[rows] = (features[rows] - mean).to(output.dtype)
    return replace(images, features=output)


def center_cameras(images: FeatureSet) -> FeatureSet:
    """Subtract from the images of each camera their own mean.

    Of an image that is the only one of its camera nothing would be left: from
    such images the mean of all images is subtracted.

    Args:
        images (FeatureSet): N images.

    Returns:
        FeatureSet: See :func:`subtract_camera_means`.

    Raises:
        InputError: See :func:`camera_means`.

    Examples:
        >>> import torch
        >>> from mmreid.structures import FeatureSet
        >>> images = FeatureSet(
        ...     torch.tensor([[1.0, 0], [3, 2], [5, 7]]),
        ...     camera_id=torch.tensor([0, 0, 4]),
        ... )
        >>> center_cameras(images).features.tolist()
        [[-1.0, -1.0], [1.0, 1.0], [2.0, 4.0]]
    """
    means = camera_means(images)
    numbers = _known_camera_id(images).unique(return_counts=True)[1]
    means.features[numbers == 1] = images.features.mean(0, dtype=torch.float64)
    return subtract_camera_means(images, means)


def _known_camera_id(images: FeatureSet) -> Tensor:
    """The camera ids, (N,), on the device of the features."""
    cameras = images.camera_id
    if cameras is None or bool((cameras < 0).any()):
        raise InputError(
            f'Cameras of these {len(images)} images are unknown, so no '
            'camera mean can be taken or subtracted: give every image a '
            'camera id of 0 or more, or leave the camera means out.'
        )
    return cameras.to(images.features.device)

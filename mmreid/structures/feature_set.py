from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmreid.errors import InputError

__all__ = [
    'FeatureSet',
    'check_features',
    'check_labels',
    'check_paths',
    'count_persons',
]


def check_features(name: str, features: Tensor) -> None:
    """Raise unless they are a floating-point tensor (N, D).

    Args:
        name (str): For the errors.
        features (Tensor): What to check.

    Raises:
        TypeError: If they are no tensor or not floating point.
        InputError: If they are not (N, D).
    """
    if not isinstance(features, Tensor):
        raise TypeError(
            f'{name} must be a tensor, got {type(features).__name__}.'
        )
    if not features.is_floating_point():
        raise TypeError(
            f'{name} must be floating point, got {features.dtype}: pass the '
            "model's features, not images or ids."
        )
    if features.ndim != 2:
        raise InputError(
            f'{name} must be a (N, D) tensor, got shape '
            f'{tuple(features.shape)}.'
        )


def check_labels(name: str, labels: Tensor, num: int) -> None:
    """Raise unless they are one integer per feature row.

    Args:
        name (str): For the errors.
        labels (Tensor): What to check.
        num (int): The number of feature rows.

    Raises:
        TypeError: If they are no tensor or not integers.
        InputError: If they are not (num,).
    """
    if not isinstance(labels, Tensor):
        raise TypeError(
            f'{name} must be a tensor, got {type(labels).__name__}.'
        )
    if labels.shape != (num,):
        raise InputError(
            f'{name} must hold one number per feature row, ({num},), '
            f'got shape {tuple(labels.shape)}.'
        )
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f'{name} must be integers, got {labels.dtype}.')


def check_paths(name: str, paths: Sequence[str], num: int) -> None:
    """Raise an InputError unless there is one path per feature row.

    Args:
        name (str): For the error.
        paths (Sequence[str]): What to check.
        num (int): The number of feature rows.
    """
    if len(paths) != num:
        raise InputError(
            f'{name} must hold one path per feature row, {num}, got '
            f'{len(paths)}.'
        )


# Not comparable: == of tensors is no yes or no.
@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features of images, with what is known of each image.

    Args:
        features (Tensor): Shape (N, D), floating point.
        person_id (Tensor, optional): Integers, of shape (N,). Defaults to
            None, for images of unknown persons.
        camera_id (Tensor, optional): Integers, of shape (N,). Defaults to
            None, for images of unknown cameras.
        paths (Sequence[str], optional): The image files, N of them. Defaults
            to None.

    Raises:
        TypeError: If features are not floating point or ids not integers.
        InputError: If features are not (N, D), or a length is not N.

    Examples:
        >>> import torch
        >>> from mmreid.structures import FeatureSet
        >>> images = FeatureSet(torch.eye(2), paths=['a.jpg', 'b.jpg'])
        >>> len(images), images.take(torch.tensor([1, 0])).paths
        (2, ('b.jpg', 'a.jpg'))
    """

    features: Tensor
    person_id: Tensor | None = None
    camera_id: Tensor | None = None
    paths: Sequence[str] | None = None

    def __post_init__(self) -> None:
        check_features('features', self.features)
        for name in ('person_id', 'camera_id'):
            labels = getattr(self, name)
            if labels is not None:
                check_labels(name, labels, len(self))
        if self.paths is not None:
            check_paths('paths', self.paths, len(self))

    def __len__(self) -> int:
        return len(self.features)

    def take(self, index: Tensor) -> 'FeatureSet':
        """Some of the images.

        Args:
            index (Tensor): Their indices, shape (n,), in any order and any
                number of times; or a mask of shape (N,).

        Returns:
            FeatureSet: With all that is known of them.
        """
        person_id, camera_id = (
            labels if labels is None else labels[index]
            for labels in (self.person_id, self.camera_id)
        )
        paths = self.paths
        if paths is not None:
            rows = torch.arange(len(self))[index.cpu()].tolist()
            paths = tuple(paths[row] for row in rows)
        return FeatureSet(self.features[index], person_id, camera_id, paths)

    def to(self, device: torch.device | str) -> 'FeatureSet':
        """The same images with their tensors on a device."""
        person_id, camera_id = (
            labels if labels is None else labels.to(device)
            for labels in (self.person_id, self.camera_id)
        )
        return replace(
            self,
            features=self.features.to(device),
            person_id=person_id,
            camera_id=camera_id,
        )

    def known_person_id(self) -> Tensor:
        """The person ids, (N,), where they are needed.

        Raises:
            InputError: If the persons are unknown.
        """
        if self.person_id is None:
            raise InputError(
                f'The persons on these {len(self)} images are unknown, so '
                'nothing can be scored by them: give the FeatureSet a '
                'person_id, one for each image.'
            )
        return self.person_id

    def known_paths(self) -> Sequence[str]:
        """The image files, N of them, where they are needed.

        Raises:
            InputError: If the files are unknown.
        """
        if self.paths is None:
            raise InputError(
                f'The files of these {len(self)} images are unknown: give '
                'the FeatureSet its paths, one for each image.'
            )
        return self.paths

    def places(self) -> tuple[Tensor, Tensor]:
        """Images by (person, camera), without cameras by person.

        Returns:
            tuple[Tensor, Tensor]: The first image of each place, in order
            of first appearance, and each image's place, (N,).

        Raises:
            InputError: If the persons are unknown.
        """
        labels = [self.known_person_id()]
        if self.camera_id is not None:
            labels.append(self.camera_id)
        _, place = torch.stack(labels, 1).unique(dim=0, return_inverse=True)
        num = int(place.max()) + 1
        index = torch.arange(len(place), device=place.device)
        first = index.new_full((num,), len(place)).scatter_reduce(
            0, place, index, 'amin'
        )
        order = first.argsort()
        return first[order], order.argsort()[place]


def count_persons(*sets: FeatureSet) -> int:
    """How many persons images show, 0 where those of a set are unknown.

    With one, nobody can be mistaken for another: each match is right.

    Args:
        *sets (FeatureSet): The images.
    """
    persons: set[int] = set()
    for images in sets:
        if images.person_id is None:
            return 0
        persons.update(images.person_id.tolist())
    return len(persons)

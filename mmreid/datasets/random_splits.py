"""Random halves, for the data sets that have no fixed split."""

import json
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from mmreid.errors import InputError

from .base import BaseReIDDataset, Record, first_three

PARTS = ('train', 'query', 'gallery')
RULE = (
    'Shared persons (in both views), sorted by id; split k takes permutation '
    'k of numpy.random.default_rng(seed). The first half (rounded down) '
    'trains, in both views; query: the other shared persons of the first '
    'view; gallery: all of the second view but the training persons. Paths '
    "are relative to the folder that holds the data set's views."
)
SINGLE_SHOT_RULE = (
    ' Of each test person and view one image is taken: split k takes the '
    'next draws of numpy.random.default_rng([seed, 1]), persons sorted by '
    'id, first all of the first view, then all of the second.'
)


class RandomSplitDataset(BaseReIDDataset):
    """Base of the data sets that are tested on random splits.

    A subclass implements :meth:`load_all_records`. If persons have several
    images per view it sets :attr:`shots`.

    Args:
        *args: See :class:`BaseReIDDataset`.
        split_file (str, optional): File of :func:`write_random_splits`.
            'train', 'query' and 'gallery' are then those of one of its
            splits and share no person. Defaults to None, all images.
        split_index (int): Which of its splits, from 0. Defaults to 0.
        **kwargs: See :class:`BaseReIDDataset`.

    Raises:
        FileNotFoundError: If the file, or an image that it lists, is missing.
        InputError: If it is no file of random splits, is another data set's,
            has no such split, or one that trains on persons it tests; or if
            :attr:`shots` is not what the test part of its splits has.
    """

    shots: str | None = None
    """'single', splits test on one image of each person and view, drawn at
    random; 'multi', on all; None if there is only one."""

    path_parts: int = 2
    """How many last parts of a path a split file lists; by default the
    folder of the view and the name."""

    def __init__(
        self,
        *args,
        split_file: str | None = None,
        split_index: int = 0,
        **kwargs,
    ) -> None:
        self.split_file = split_file and os.path.expanduser(split_file)
        self.split_index = split_index
        super().__init__(*args, **kwargs)

    @property
    def holds_test_images(self) -> bool:
        """bool: Whether 'train' is not apart from the test: no split."""
        return self.split == 'train' and self.split_file is None

    drawn_parts = ('train', 'test')

    @property
    def drawn(self) -> list[int]:
        """list[int]: The split's index, -1 of all persons."""
        return [-1 if self.split_file is None else self.split_index]

    def load_all_records(self, split: str) -> list[Record]:
        """What a data set without a split file holds.

        Args:
            split (str): 'train', both views of the shared persons; 'query',
                the shared persons of the first view; or 'gallery', all of
                the second view.

        Returns:
            list[Record]: The images, in any order.
        """
        raise NotImplementedError(
            f'{type(self).__name__} must implement load_all_records.'
        )

    def load_records(self, split: str) -> list[Record]:
        if self.split_file is None:
            return self.load_all_records(split)
        listed = self._read_split(split)
        on_disk = {
            self.listed_path(record): record
            for part in ('query', 'gallery')
            for record in self.load_all_records(part)
        }
        missing = [path for path in listed[split] if path not in on_disk]
        if missing:
            raise FileNotFoundError(
                f'{self._title}: {len(missing)} images that split '
                f"{self.split_index} of '{self.split_file}' lists as {split} "
                f"are not in '{self.data_root}': {first_three(missing)}; "
                'unpack the whole data set there, or draw splits of what '
                'there is.'
            )
        train, query, gallery = (
            {
                on_disk[path].person_id
                for path in listed[part]
                if path in on_disk
            }
            for part in PARTS
        )
        if train & (query | gallery):
            raise InputError(
                f"Split {self.split_index} of '{self.split_file}' trains on "
                f'{len(train & (query | gallery))} persons that it also '
                'tests: no person may be in both parts.'
            )
        return [on_disk[path] for path in listed[split]]

    def listed_path(self, record: Record) -> str:
        """An image as a split file lists it, the same on every system.

        Args:
            record (Record): The image.

        Returns:
            str: The last :attr:`path_parts` parts of its path, with slashes.
        """
        parts = Path(record.path).parts[-self.path_parts :]
        return Path(*parts).as_posix()

    def _read_split(self, split: str) -> dict[str, list[str]]:
        """The relative paths of each part, checked for the use as one."""
        file, name = self.split_file, self._metainfo['dataset_name']
        if not os.path.isfile(file):
            raise FileNotFoundError(
                f"split_file '{file}' of {self._title} does not exist: write "
                'one with mmreid.datasets.random_splits.write_random_splits.'
            )
        try:
            content = json.loads(Path(file).read_text(encoding='utf-8'))
            owner = content['dataset']
            splits = [{p: s[p] for p in PARTS} for s in content['splits']]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"split_file '{file}' of {self._title} is no file of random "
                'splits: write one with '
                'mmreid.datasets.random_splits.write_random_splits.'
            ) from error
        if owner != name:
            raise InputError(
                f"split_file '{file}' holds splits of '{owner}', but was "
                f"given to {self._title}, which needs those of '{name}'."
            )
        # The training part is the same in both.
        if split != 'train' and content.get('shots') != self.shots:
            raise InputError(
                f"split_file '{file}' was drawn with "
                f"shots='{content.get('shots')}', but {self._title} is told "
                f"to test with shots='{self.shots}': set shots to the "
                "file's, or draw another file."
            )
        if not 0 <= self.split_index < len(splits):
            raise InputError(
                f"split_index must be 0 to {len(splits) - 1} for '{file}', "
                f'got {self.split_index}.'
            )
        return splits[self.split_index]


def draw_random_splits(
    dataset: RandomSplitDataset, num_splits: int = 10, seed: int = 0
) -> dict:
    """Draw the random splits of a data set.

    The same seed gives the same splits on every machine: persons and names
    are sorted, and the generator is its own.

    Args:
        dataset (RandomSplitDataset): The data set; its own split, if it has
            one, does not matter.
        num_splits (int): Number of splits. Defaults to 10.
        seed (int): Seed. Defaults to 0.

    Returns:
        dict: ``dataset`` (its name), ``seed``, ``shots`` (if the data set
        has them), ``rule`` (how splits are drawn), ``counts`` (shared
        ``persons``, images of the three parts) and ``splits``, a list of
        dicts of relative paths: ``train``, ``query`` and ``gallery``.

    Raises:
        InputError: If ``num_splits`` is below 1, or fewer than two persons
            are in both views.
    """
    if num_splits < 1:
        raise InputError(f'num_splits must be 1 or more, got {num_splits}.')
    query = sorted(dataset.load_all_records('query'))
    gallery = sorted(dataset.load_all_records('gallery'))
    shared = sorted(
        {r.person_id for r in query} & {r.person_id for r in gallery}
    )
    if len(shared) < 2:
        raise InputError(
            f"{type(dataset).__name__} in '{dataset.data_root}' has "
            f'{len(shared)} persons in both views: halves need two or more.'
        )
    rng = np.random.default_rng(seed)
    # Of its own, so that both kinds of shots have the same halves.
    shot_rng = np.random.default_rng([seed, 1])
    single = dataset.shots == 'single'
    splits = []
    for _ in range(num_splits):
        order = rng.permutation(shared).tolist()
        half = len(order) // 2
        train, test = set(order[:half]), set(order[half:])
        parts = dict(
            train=[r for r in query + gallery if r.person_id in train],
            query=[r for r in query if r.person_id in test],
            gallery=[r for r in gallery if r.person_id not in train],
        )
        if single:
            for part in ('query', 'gallery'):
                parts[part] = _one_per_person(parts[part], shot_rng)
        splits.append(
            {
                part: [dataset.listed_path(record) for record in records]
                for part, records in parts.items()
            }
        )
    return dict(
        dataset=dataset.metainfo['dataset_name'],
        seed=seed,
        **({'shots': dataset.shots} if dataset.shots else {}),
        rule=RULE + SINGLE_SHOT_RULE * single,
        counts=dict(
            persons=len(shared),
            **{part: len(splits[0][part]) for part in PARTS},
        ),
        splits=splits,
    )


def write_random_splits(
    dataset: RandomSplitDataset,
    path: str,
    num_splits: int = 10,
    seed: int = 0,
) -> dict:
    """Write :func:`draw_random_splits` to a JSON file.

    Args:
        dataset (RandomSplitDataset): The data set.
        path (str): The file, in a folder that exists.
        num_splits (int): Number of splits. Defaults to 10.
        seed (int): Seed. Defaults to 0.

    Returns:
        dict: What was written.

    Raises:
        InputError: See :func:`draw_random_splits`.
    """
    content = draw_random_splits(dataset, num_splits, seed)
    Path(path).write_text(json.dumps(content, indent=1), encoding='utf-8')
    return content


def _one_per_person(
    records: list[Record], rng: np.random.Generator
) -> list[Record]:
    """Draw one image of each person, in the order of their ids."""
    images_of = defaultdict(list)
    for record in records:
        images_of[record.person_id].append(record)
    return [
        images[rng.integers(len(images))]
        for _, images in sorted(images_of.items())
    ]

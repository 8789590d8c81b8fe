"""Named domains of images, side by side."""

import copy
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Dataset

from mmreid.errors import InputError
from mmreid.registry import DATASETS
from mmreid.structures.batch_info import UNKNOWN_PERSON

from .base import BaseReIDDataset


@dataclass
class Domain:
    """The data sets that a training draws from under one name.

    Attributes:
        name (str): Its name, such as 'source' or 'target'.
        number (int): Its place among the names in alphabetical order.
        span (range): Its images' indices in the :class:`DomainDataset`.
        datasets (list[BaseReIDDataset]): The data sets.
        labelled (bool): Whether its images have identities.
        num_identities (int): Identities of all its data sets; 0 without
            labels.
        num_cameras (int): Cameras of all its data sets.
        attribute_names (list[str]): Names of the m attributes; empty if it
            has none.
    """

    name: str
    number: int
    span: range
    datasets: list[BaseReIDDataset]
    labelled: bool
    num_identities: int
    num_cameras: int
    attribute_names: list[str]

    def __len__(self) -> int:
        return len(self.span)


@DATASETS.register_module()
class DomainDataset(Dataset):
    """Domains of images by their names: what a training draws from.

    Each keyword that is not ``pipeline`` names a domain, and holds the config
    of its data set, or a list of them. Several data sets are one domain:
    their person and camera ids are shifted, so that no two share one. A
    domain is labelled (``labelled=True``, ``split='train'``) or erased its
    identities (``labelled=False``). Which domains a method needs, and of
    which kind, the method says (:attr:`BaseReID.stages`).

    Domains are ordered by their names, since MMEngine sorts the keys of a
    config that it writes to the work dir.

    Args:
        pipeline (Sequence[dict], optional): The pipeline of each config that
            has none. Defaults to None.
        **domains (dict | list[dict] | None): Configs of each domain's data
            sets; None leaves the domain out, so that a variant can drop one
            of its base.

    Attributes:
        domains (dict[str, Domain]): The domains by name.

    Raises:
        OSError: If files of a data set are missing.
        InputError: If there is no domain, or one without a data set; if
            several data sets cannot be read, all of which it names; if a
            domain's data sets are not all labelled or all not, or differ in
            their attributes; if a labelled one is no training split; or if
            two data sets share images.

    Examples:
        >>> from mmreid.datasets import DomainDataset
        >>> source = dict(type='Market1501', data_root='data/source')
        >>> target = dict(type='Market1501', data_root='data/target')
        >>> dataset = DomainDataset(
        ...     source=source,
        ...     target=dict(target, labelled=False),
        ...     pipeline=[
        ...         dict(type='LoadReIDImage'),
        ...         dict(type='PackReIDInputs'),
        ...     ],
        ... )
        >>> dataset.domains['source'].num_identities
        6
        >>> dataset.domains['target'].num_identities  # erased
        0
    """

    def __init__(
        self,
        pipeline: Sequence[dict] | None = None,
        **domains: dict | list[dict] | None,
    ) -> None:
        common = {} if pipeline is None else dict(pipeline=pipeline)
        self._datasets_of: dict[str, list[BaseReIDDataset]] = {}
        self._configs: dict[str, list[dict]] = {}
        problems = []
        for name in sorted(domains):
            configs = domains[name]
            if configs is None:
                continue
            if isinstance(configs, dict):
                configs = [configs]
            if not configs:
                raise InputError(
                    f'The domain {name!r} must name at least one data set.'
                )
            configs = [{**common, **config} for config in configs]
            self._configs[name] = copy.deepcopy(configs)
            datasets = []
            for config in configs:
                try:
                    datasets.append(DATASETS.build(config))
                except (InputError, OSError) as error:
                    problems.append(error)
            if not problems:
                _check_labels(name, datasets)
                _check_attributes(name, datasets)
            self._datasets_of[name] = datasets
        _raise_all(problems)
        if not self._datasets_of:
            raise InputError(
                'The training data must name at least one domain, such as '
                'source=dict(type=...).'
            )
        self._fully_initialized = False
        self.full_init()

    def full_init(self) -> None:
        """Load all data sets, and check that they share no image."""
        if self._fully_initialized:
            return
        datasets = sum(self._datasets_of.values(), [])
        _check_disjoint(datasets)
        # Of each data set: its domain's number, where its indices start, over
        # all domains and inside its own, and the first person and camera id.
        # One shift per data set is enough, nothing is copied.
        self._places: list[tuple[int, int, int, int, int]] = []
        self._all = datasets
        self.domains: dict[str, Domain] = {}
        start = 0
        for number, (name, parts) in enumerate(self._datasets_of.items()):
            begin, person, camera = start, 0, 0
            for part in parts:
                self._places.append(
                    (number, start, start - begin, person, camera)
                )
                start += len(part)
                person += part.num_identities
                camera += part.num_cameras
            self.domains[name] = Domain(
                name=name,
                number=number,
                span=range(begin, start),
                datasets=parts,
                labelled=parts[0].labelled,
                num_identities=person,
                num_cameras=camera,
                attribute_names=parts[0].metainfo.get('attribute_names', []),
            )
        self._starts = [place[1] for place in self._places]
        self._length = start
        self.attribute_names = self._common_attributes()
        self._fully_initialized = True

    def _common_attributes(self) -> list[str]:
        having = [d for d in self.domains.values() if d.attribute_names]
        for domain in having[1:]:
            if domain.attribute_names != having[0].attribute_names:
                raise InputError(
                    f'The attributes of the domains {having[0].name!r} and '
                    f'{domain.name!r} are in one batch, but differ: leave '
                    'attribute_file out of one of them.'
                )
        return having[0].attribute_names if having else []

    @property
    def metainfo(self) -> dict:
        """dict: Names and sizes of the domains, in plain types."""
        metainfo = dict(
            domains={
                name: dict(
                    datasets=[
                        d.metainfo['dataset_name'] for d in domain.datasets
                    ],
                    num_images=len(domain),
                    num_identities=domain.num_identities,
                    num_cameras=domain.num_cameras,
                )
                for name, domain in self.domains.items()
            }
        )
        if self.attribute_names:
            metainfo['attribute_names'] = list(self.attribute_names)
        return metainfo

    def images(self, name: str) -> 'DomainImages':
        """The images of one domain, as a data set of its own."""
        return DomainImages(self, self.domains[name].span)

    def labelled(self, name: str) -> 'DomainDataset':
        """A domain read again with its identities: for diagnostics only.

        Args:
            name (str): The domain.

        Returns:
            DomainDataset: That domain alone; its images keep their indices
            inside the domain.

        Raises:
            InputError: If it has none, or all its images are of one person,
                with whom every diagnostic would be perfect.
        """
        configs = [
            {**config, 'labelled': True} for config in self._configs[name]
        ]
        try:
            labelled = DomainDataset(**{name: configs})
        except InputError as error:
            raise InputError(
                f'The {name} images have no identities to compare with: '
                f'{error}'
            ) from error
        if labelled.domains[name].num_identities < 2:
            raise InputError(
                f'All {name} images are of one person, so every pair would be '
                'right: leave purity and quality out where nobody knows the '
                'persons.'
            )
        return labelled

    def person_ids(self, name: str) -> np.ndarray:
        """Identities of a domain's images, (N,).

        Without labels, each is ``UNKNOWN_PERSON``.
        """
        return self._column(name, 'person_id')

    def camera_ids(self, name: str) -> np.ndarray:
        """Cameras of a domain's images, (N,)."""
        return self._column(name, 'camera_id')

    def _column(self, name: str, key: str) -> np.ndarray:
        span = self.domains[name].span
        return np.array([self.get_data_info(i)[key] for i in span], np.int64)

    def __len__(self) -> int:
        return self._length

    def get_data_info(self, idx: int) -> dict:
        """Get an entry.

        Args:
            idx (int): Index over all domains.

        Returns:
            dict: The data set's entry with ``domain``, the domain's number;
            ``sample_idx`` counts inside the domain, ids are shifted,
            ``person_id`` of an unlabelled domain is ``UNKNOWN_PERSON``, and
            ``attributes`` of a domain that has none are -1 if another has
            them.
        """
        which, inner = self._find(idx)
        return self._place(self._all[which].get_data_info(inner), which)

    def __getitem__(self, idx: int) -> dict:
        """Get an item.

        Args:
            idx (int): Index over all domains.

        Returns:
            dict: The data set's item, with ``data_samples`` changed as in
            :meth:`get_data_info`; ``skipped_idx``, too, counts inside the
            domain.
        """
        which, inner = self._find(idx)
        item = self._all[which][inner]
        sample = self._place(item['data_samples'], which)
        if self.attribute_names:
            sample['attributes'] = np.asarray(sample['attributes'], np.int64)
        return item

    def _find(self, idx: int) -> tuple[int, int]:
        """Find the data set of an index, and the index in it."""
        if not -self._length <= idx < self._length:
            raise IndexError(f'index {idx} of {self._length} images')
        idx = int(idx) % self._length
        which = bisect_right(self._starts, idx) - 1
        return which, idx - self._starts[which]

    def _place(self, sample: dict, which: int) -> dict:
        """Turn the numbers of one data set into those of its domain."""
        number, _, start, person, camera = self._places[which]
        sample['domain'] = number
        sample['sample_idx'] += start
        if sample.get('skipped_idx', -1) >= 0:
            sample['skipped_idx'] += start
        if 'person_id' in sample:
            sample['person_id'] += person
        else:
            sample['person_id'] = UNKNOWN_PERSON
        sample['camera_id'] += camera
        if self.attribute_names and 'attributes' not in sample:
            sample['attributes'] = (-1,) * len(self.attribute_names)
        return sample


class DomainImages(Dataset):
    """The images of one domain of a :class:`DomainDataset`, from 0 on."""

    def __init__(self, dataset: DomainDataset, span: range) -> None:
        self.dataset = dataset
        self.span = span

    def __len__(self) -> int:
        return len(self.span)

    def get_data_info(self, idx: int) -> dict:
        """See :meth:`DomainDataset.get_data_info`."""
        return self.dataset.get_data_info(self.span[idx])

    def __getitem__(self, idx: int) -> dict:
        return self.dataset[self.span[idx]]


def _raise_all(problems: Sequence[Exception]) -> None:
    """Raise what is wrong with data sets: all of it, not one per start."""
    if len(problems) > 1:
        lines = [f'  {number}. {p}' for number, p in enumerate(problems, 1)]
        raise InputError(
            '\n'.join([f'{len(problems)} data sets cannot be read:', *lines])
        ) from problems[0]
    if problems:
        raise problems[0]


def _check_labels(name: str, datasets: Sequence[BaseReIDDataset]) -> None:
    """Raise an ``InputError`` if a domain is neither labelled nor not."""
    for dataset in datasets:
        title = dataset.metainfo['dataset_name']
        if dataset.labelled != datasets[0].labelled:
            raise InputError(
                f'The data sets of the domain {name!r} must all have '
                'labelled=True or all labelled=False, but '
                f'{datasets[0].metainfo["dataset_name"]} and {title} differ.'
            )
        if dataset.labelled and dataset.split != 'train':
            raise InputError(
                f'{title} in the domain {name!r} is labelled, so it must '
                f"have split='train', got split='{dataset.split}'."
            )


def _check_attributes(name: str, datasets: Sequence[BaseReIDDataset]) -> None:
    """Raise an ``InputError`` if a domain's data sets differ in them."""
    names = [d.metainfo.get('attribute_names', []) for d in datasets]
    if any(other != names[0] for other in names):
        found = [
            f'{d.metainfo["dataset_name"]} {len(n)} ({", ".join(n[:3])}...)'
            if n
            else f'{d.metainfo["dataset_name"]} none'
            for d, n in zip(datasets, names, strict=True)
        ]
        raise InputError(
            f'All data sets of the domain {name!r} must have the same '
            f'attributes, or none, got {", ".join(found)}: check their '
            'attribute_file and age.'
        )


def _check_disjoint(datasets: Sequence[BaseReIDDataset]) -> None:
    """Raise an ``InputError`` if an image is in two data sets."""
    owner_of: dict[str, int] = {}
    # Folders are resolved once, not once per image.
    real_folders: dict[str, str] = {}
    for index, dataset in enumerate(datasets):
        for i in range(len(dataset)):
            path = dataset.get_data_info(i)['img_path']
            folder, name = os.path.split(path)
            if folder not in real_folders:
                real_folders[folder] = os.path.realpath(folder)
            key = os.path.join(real_folders[folder], name)
            if owner_of.setdefault(key, index) != index:
                owner = datasets[owner_of[key]].metainfo['dataset_name']
                raise InputError(
                    f'{owner} and {dataset.metainfo["dataset_name"]} both '
                    f"hold '{path}': source and target (and each source) "
                    'must be different images; check their data_root.'
                )

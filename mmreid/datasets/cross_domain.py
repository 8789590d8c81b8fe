"""A labelled auxiliary set and an unlabelled target set, side by side."""

import os
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from mmreid.registry import DATASETS

from .base import BaseReIDDataset


@DATASETS.register_module()
class CrossDomainDataset(Dataset):
    """Source images with identities, then target images without.

    Several sources are one auxiliary set: their person and camera ids are
    shifted, so that no two data sets share one.

    Args:
        source (dict or list[dict]): Config of the labelled data set(s), with
            the split 'train'.
        target (dict, optional): Config of the unlabelled data set, with
            ``labelled=False``. Defaults to None, as in source training.
        pipeline (Sequence[dict], optional): The pipeline of each config that
            has none. Defaults to None.

    Attributes:
        datasets (list[BaseReIDDataset]): The sources, then the target.
        domains (dict[str, range]): The indices of 'source' and, if there is
            one, 'target'.
        num_identities (int): Number of source identities, that is of
            reference persons.
        num_target_images (int): Number of target images.
        attribute_names (list[str]): Names of the m attributes of the source;
            empty if it has none. Those of target images are all -1, unknown.

    Raises:
        ValueError: If a source is unlabelled, or no training split; if the
            target is labelled; if the sources differ in their attributes; or
            if two of the data sets share images.
    """

    def __init__(
        self,
        source: dict | list[dict],
        target: dict | None = None,
        pipeline: Sequence[dict] | None = None,
    ) -> None:
        configs = [source] if isinstance(source, dict) else list(source)
        if not configs:
            raise ValueError('source must name at least one data set.')
        self._num_sources = len(configs)
        if target is not None:
            configs.append(target)
        if pipeline is not None:
            configs = [{'pipeline': pipeline, **config} for config in configs]
        self.datasets: list[BaseReIDDataset] = [
            DATASETS.build(config) for config in configs
        ]
        for index, dataset in enumerate(self.datasets):
            _check_labels(dataset, is_source=index < self._num_sources)
        self.attribute_names = _common_attributes(
            self.datasets[: self._num_sources]
        )
        self._fully_initialized = False
        self.full_init()

    def full_init(self) -> None:
        """Load all data sets, and check that they share no image."""
        if self._fully_initialized:
            return
        _check_disjoint(self.datasets)
        # Where each data set starts: its indices, person and camera ids.
        # One shift per data set is enough, nothing is copied.
        self._starts, self._shifts = [], []
        start = person = camera = 0
        for index, dataset in enumerate(self.datasets):
            if index == self._num_sources:
                person = camera = 0
            self._starts.append(start)
            self._shifts.append((person, camera))
            start += len(dataset)
            person += dataset.num_identities
            camera += dataset.num_cameras
        self._length = start

        sources = self.datasets[: self._num_sources]
        self.num_identities = sum(d.num_identities for d in sources)
        num_source = sum(len(d) for d in sources)
        self.num_target_images = self._length - num_source
        self.domains = dict(source=range(num_source))
        if len(self.datasets) > self._num_sources:
            self.domains['target'] = range(num_source, self._length)
        self._fully_initialized = True

    @property
    def metainfo(self) -> dict:
        """dict: Names of the data sets and sizes, in plain types."""
        names = [d.metainfo['dataset_name'] for d in self.datasets]
        metainfo = dict(
            source_datasets=names[: self._num_sources],
            target_datasets=names[self._num_sources :],
            num_identities=self.num_identities,
            num_target_images=self.num_target_images,
        )
        if self.attribute_names:
            metainfo['attribute_names'] = list(self.attribute_names)
        return metainfo

    def __len__(self) -> int:
        return self._length

    def get_data_info(self, idx: int) -> dict:
        """Get an entry.

        Args:
            idx (int): Index over both domains.

        Returns:
            dict: The data set's entry with ``domain``, 0 for the source and 1
            for the target; ``sample_idx`` counts inside the domain, the ids
            of the sources are shifted, and ``attributes`` of the target are
            -1 if the sources have attributes.
        """
        which, inner = self._find(idx)
        return self._place(self.datasets[which].get_data_info(inner), which)

    def __getitem__(self, idx: int) -> dict:
        """Get an item.

        Args:
            idx (int): Index over both domains.

        Returns:
            dict: The data set's item, with ``data_samples`` changed as in
            :meth:`get_data_info`; ``skipped_idx``, too, counts inside the
            domain.
        """
        which, inner = self._find(idx)
        item = self.datasets[which][inner]
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
        domain = int(which >= self._num_sources)
        person, camera = self._shifts[which]
        start = 0 if domain else self._starts[which]
        sample['domain'] = domain
        sample['sample_idx'] += start
        if sample.get('skipped_idx', -1) >= 0:
            sample['skipped_idx'] += start
        sample['person_id'] += person
        sample['camera_id'] += camera
        if domain and self.attribute_names:
            sample['attributes'] = (-1,) * len(self.attribute_names)
        return sample


def _check_labels(dataset: BaseReIDDataset, is_source: bool) -> None:
    name = dataset.metainfo['dataset_name']
    if is_source and not (dataset.labelled and dataset.split == 'train'):
        raise ValueError(
            f"The source {name} must have labelled=True and split='train', "
            f"got labelled={dataset.labelled}, split='{dataset.split}'."
        )
    if not is_source and dataset.labelled:
        raise ValueError(
            f'The target {name} must not bring identities: set '
            'labelled=False in its config.'
        )


def _common_attributes(sources: Sequence[BaseReIDDataset]) -> list[str]:
    """Names of the attributes, which must be the same in all sources."""
    names = [d.metainfo.get('attribute_names', []) for d in sources]
    if any(other != names[0] for other in names):
        found = [
            f'{d.metainfo["dataset_name"]} {len(n)} ({", ".join(n[:3])}...)'
            if n
            else f'{d.metainfo["dataset_name"]} none'
            for d, n in zip(sources, names, strict=True)
        ]
        raise ValueError(
            'All sources must have the same attributes, or none, got '
            f'{", ".join(found)}: check their attribute_file and age.'
        )
    return names[0]


def _check_disjoint(datasets: Sequence[BaseReIDDataset]) -> None:
    """Raise a ``ValueError`` if an image is in two data sets."""
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
                raise ValueError(
                    f'{owner} and {dataset.metainfo["dataset_name"]} both '
                    f"hold '{path}': source and target (and each source) "
                    'must be different images; check their data_root.'
                )

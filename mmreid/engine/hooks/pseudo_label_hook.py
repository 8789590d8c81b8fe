import torch
from mmengine.hooks import Hook
from torch import Tensor

from mmreid.errors import InputError
from mmreid.evaluation import cluster_quality
from mmreid.registry import HOOKS

from .utils import algorithm_of, cluster_counts


@HOOKS.register_module()
class PseudoLabelHook(Hook):
    """Says in which epochs the algorithm makes its pseudo-labels anew.

    Calls ``prepare_epoch`` as such an epoch begins. A run that is resumed
    within an epoch has them in its checkpoint. The log shows how many
    ``clusters`` there are, and what part of the images is in one,
    ``clustered``, in percent.

    Args:
        interval (int): Epochs of a stage between them, the first included.
            Defaults to 1.
        quality (bool): Log how well the labels fit the persons, for domains
            whose labels exist (:func:`mmreid.evaluation.cluster_quality`, as
            ``cluster_purity``, ``pair_precision``, ``pair_recall`` and
            ``pair_f1``). They are read here and nowhere else, so that no loss
            can see them. Defaults to False.
    """

    # Before whatever reads the labels as the epoch begins.
    priority = 'HIGH'

    def __init__(self, interval: int = 1, quality: bool = False) -> None:
        if interval < 1:
            raise InputError(
                f'interval of PseudoLabelHook must be 1 or more, got '
                f'{interval}.'
            )
        self.interval = interval
        self.quality = quality
        self._person_ids: dict[str, Tensor] = {}

    def before_train(self, runner) -> None:
        """Read the labels that the quality is measured with.

        Raises:
            InputError: If nobody knows the persons of the images.
        """
        if not self.quality:
            return
        algorithm = algorithm_of(runner)
        dataset = runner.train_loop.dataset
        for domain in dataset.domains:
            if algorithm.cluster_labels(domain) is not None:
                self._person_ids[domain] = torch.from_numpy(
                    dataset.labelled(domain).person_ids(domain)
                )

    def before_train_epoch(self, runner) -> None:
        """Let the algorithm prepare the epoch, if it is its turn."""
        loop = runner.train_loop
        stage = loop.stage
        epoch = stage.epoch(runner.iter)
        if stage.begins_epoch(runner.iter) and epoch % self.interval == 0:
            algorithm = algorithm_of(runner)
            algorithm.prepare_epoch(stage.name, epoch, loop.extract)
            for domain in stage.batch_size:
                labels = algorithm.cluster_labels(domain)
                values = cluster_counts(labels)
                if labels is not None and self.quality:
                    values |= self._quality(domain, labels.cpu())
                for name, value in values.items():
                    runner.message_hub.update_scalar(f'train/{name}', value)
                if values:
                    shown = (f'{k} {v:.6g}' for k, v in values.items())
                    runner.logger.info(
                        f'Pseudo-labels of the {domain}: {", ".join(shown)}'
                    )

    def _quality(self, domain: str, labels: Tensor) -> dict:
        """How well the labels fit the persons, whom nobody else sees."""
        found = cluster_quality(labels, self._person_ids[domain])
        found['cluster_purity'] = found.pop('purity')
        return found

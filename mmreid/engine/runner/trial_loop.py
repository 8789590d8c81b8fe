import dataclasses
import time

import torch
from torch.utils.data import Subset

from mmreid.registry import LOOPS
from mmreid.structures import FeatureSet, Stage

from ..extraction import extract
from .staged_train_loop import StagedTrainLoop

# Iterations of a stage, of its first and of its last epoch: there may be
# losses and pairs that the first does not have.
NUM_ITERS = 2
NUM_IMAGES = 64


@dataclasses.dataclass(frozen=True)
class _Trial(Stage):
    """A stage of :data:`NUM_ITERS` epochs, each an iteration.

    Attributes:
        last_epoch (int): That of the stage which is tried, which the last
            iteration stands for.
    """

    last_epoch: int = 0

    @property
    def num_epochs(self) -> int:
        """Epochs of the stage which is tried."""
        return self.last_epoch + 1

    def epoch(self, iteration: int) -> int:
        """Epoch within the stage, from 0."""
        last = iteration == self.end - 1
        return self.last_epoch if last else 0

    def epoch_end(self, iteration: int) -> int:
        """Iteration before which the epoch of ``iteration`` ends."""
        return iteration + 1


class _Part(Subset):
    """Some images, of which one can ask what they are."""

    def get_data_info(self, index: int) -> dict:
        return self.dataset.get_data_info(index)


@LOOPS.register_module()
class TrialLoop(StagedTrainLoop):
    """Tries every stage of a :class:`StagedTrainLoop` in two iterations.

    Batches, losses, optimisers and schedulers are those of the training. Of a
    domain, the features of the first 64 images are computed; those of the
    others are the same ones with some noise, so that what a method makes of
    them has its size.

    Attributes:
        report (dict[str, tuple[int, float]]): Of each stage that was tried:
            its iterations in the training, and the seconds that one took.
    """

    def __init__(self, *args, **kwargs) -> None:
        self.report: dict[str, tuple[int, float]] = {}
        super().__init__(*args, **kwargs)

    def _parse(self, stages: dict) -> list[Stage]:
        whole = super()._parse(stages)
        self._lengths = {stage.name: stage.length for stage in whole}
        return [
            _Trial(
                **dict(
                    vars(stage),
                    begin=NUM_ITERS * number,
                    end=NUM_ITERS * (number + 1),
                    epoch_length=1,
                    first_epoch=NUM_ITERS * number,
                    val_interval=0,
                ),
                last_epoch=stage.num_epochs - 1,
            )
            for number, stage in enumerate(whole)
        ]

    def extract(self, domain: str) -> FeatureSet:
        """Features of a domain, most of them made up."""
        images = self.dataset.images(domain)
        num = min(NUM_IMAGES, len(images))
        found = extract(self.runner.model, _Part(images, range(num)), domain)
        index = torch.arange(len(images)) % num
        features = found.features[index.to(found.features.device)]
        # Equal on every rank, and without a step of PyTorch's generator.
        generator = torch.Generator().manual_seed(self.runner.seed)
        noise = torch.randn(features.shape, generator=generator)
        scale = 0.1 * found.features.std()
        person_id = None
        if self.dataset.domains[domain].labelled:
            person_id = torch.from_numpy(self.dataset.person_ids(domain))
            person_id = person_id.to(features.device)
        camera_id = torch.from_numpy(self.dataset.camera_ids(domain))
        return FeatureSet(
            features + scale * noise.to(features),
            person_id,
            camera_id.to(features.device),
            [images.get_data_info(i)['img_path'] for i in range(len(images))],
        )

    def _run_iter(self, stage: Stage, data_batch: dict) -> None:
        start = time.monotonic()
        super()._run_iter(stage, data_batch)
        seconds = time.monotonic() - start
        self.report[stage.name] = (self._lengths[stage.name], seconds)

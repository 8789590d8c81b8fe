from dataclasses import dataclass

from torch import Tensor

UNKNOWN_PERSON = -1
"""In a batch of several domains, the person on an image of an unlabelled one.

Data sets keep no person for such an image at all; but what is collated to one
tensor needs a number. It is nobody's: persons count from 0.
"""


@dataclass(frozen=True)
class BatchInfo:
    """When a training batch comes, and what it is made of.

    Attributes:
        stage (str): Name of the stage.
        epoch (int): Epoch within the stage, from 0.
        iteration (int): Iteration, counted through all stages from 0.
        seed (int): The run's seed.
        domains (dict[str, slice]): The rows of each domain in the batch.
    """

    stage: str
    epoch: int
    iteration: int
    seed: int
    domains: dict[str, slice]

    def part(self, batch: dict[str, Tensor], domain: str) -> dict[str, Tensor]:
        """The images of one domain, with their labels.

        Args:
            batch (dict[str, Tensor]): Tensors (N, ...).
            domain (str): Name of the domain.

        Returns:
            dict[str, Tensor]: Their rows of the domain.
        """
        rows = self.domains[domain]
        return {name: values[rows] for name, values in batch.items()}

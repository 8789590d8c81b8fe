from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage of the training.

    Attributes:
        name (str): Its name, one of those that the algorithm declares.
        number (int): Its place in the order of training, from 0.
        begin (int): First iteration.
        end (int): Iteration it stops before.
        epoch_length (int): Iterations per epoch.
        first_epoch (int): Epochs that the stages before it have.
        batch_size (dict[str, int]): Images per domain and batch, over all
            ranks.
        sampler (dict[str, dict]): Configs of the domains' samplers.
        val_interval (int): Epochs between validations.
        optim_wrapper (dict): Config of its optimiser.
        param_scheduler (list[dict]): Configs of its schedulers.
    """

    name: str
    number: int
    begin: int
    end: int
    epoch_length: int
    first_epoch: int
    batch_size: dict
    sampler: dict
    val_interval: int
    optim_wrapper: dict
    param_scheduler: list

    @property
    def length(self) -> int:
        """Iterations of the stage."""
        return self.end - self.begin

    @property
    def num_epochs(self) -> int:
        """Epochs of the stage, the last of which may be cut short."""
        return -(-self.length // self.epoch_length)

    def epoch(self, iteration: int) -> int:
        """Epoch within the stage, from 0."""
        return (iteration - self.begin) // self.epoch_length

    def epoch_end(self, iteration: int) -> int:
        """Iteration before which the epoch of ``iteration`` ends."""
        epoch = self.epoch(iteration)
        return min(self.begin + (epoch + 1) * self.epoch_length, self.end)

    def begins_epoch(self, iteration: int) -> bool:
        """Whether an epoch begins with this iteration."""
        return (iteration - self.begin) % self.epoch_length == 0

from mmengine.hooks import Hook

from mmreid.errors import InputError
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
    """

    # Before whatever reads the labels as the epoch begins.
    priority = 'HIGH'

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise InputError(
                f'interval of PseudoLabelHook must be 1 or more, got '
                f'{interval}.'
            )
        self.interval = interval

    def before_train_epoch(self, runner) -> None:
        """Let the algorithm prepare the epoch, if it is its turn."""
        loop = runner.train_loop
        stage = loop.stage
        epoch = stage.epoch(runner.iter)
        if stage.begins_epoch(runner.iter) and epoch % self.interval == 0:
            algorithm = algorithm_of(runner)
            algorithm.prepare_epoch(stage.name, epoch, loop.extract)
            for domain in stage.batch_size:
                counts = cluster_counts(algorithm.sampling_labels(domain))
                for name, value in counts.items():
                    runner.message_hub.update_scalar(f'train/{name}', value)

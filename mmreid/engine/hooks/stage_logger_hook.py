from mmengine.hooks import LoggerHook
from mmengine.logging import HistoryBuffer

from mmreid.registry import HOOKS

# Iterations of a stage after which there is a line, whatever the interval:
# that it runs, and how fast, one wants to know soon.
EARLY = (5, 20)


@HOOKS.register_module()
class StageLoggerHook(LoggerHook):
    """MMEngine's ``LoggerHook``, with lines early in each stage.

    Of the values that it averages it keeps as many as that takes. MMEngine
    keeps all, and copies all of them at each iteration.

    Args:
        **kwargs: See :class:`mmengine.hooks.LoggerHook`.
    """

    def before_stage(self, runner, stage) -> None:
        """Note where the stage begins."""
        self._begin = stage.begin

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        """Log by interval, or early in the stage."""
        interval = self.interval
        if batch_idx + 1 - self._begin in EARLY:
            self.interval = 1
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self.interval = interval
        window = runner.log_processor.window_size
        if not (batch_idx + 1) % window:
            scalars = runner.message_hub.log_scalars
            for key in scalars:
                if key.startswith('train/'):
                    values, counts = scalars[key].data
                    scalars[key] = HistoryBuffer(
                        values[-window:], counts[-window:]
                    )

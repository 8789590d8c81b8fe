import logging
import warnings

from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmreid.registry import RUNNERS
from mmreid.version import __version__

# Functions of MMEngine's Runner whose long lists the file keeps.
LISTS = ('__init__', '_log_env', 'wrap_model')
# Starts of what MMEngine says of itself.
ASIDES = (
    *('"FileClient" will be', '"HardDiskBackend" is the alias'),
    'Exp name: ',
)


def is_for_a_person(record: logging.LogRecord) -> bool:
    """Whether a log record belongs on the terminal."""
    from_runner = record.pathname.endswith('mmengine/runner/runner.py')
    if from_runner and record.funcName in LISTS:
        return False
    return not record.getMessage().startswith(ASIDES)


@RUNNERS.register_module()
class ReIDRunner(Runner):
    """MMEngine's ``Runner``, whose terminal shows what a person needs.

    The system's environment, the config and the list of hooks, hundreds of
    lines, go to the log file alone.
    """

    def setup_env(self, env_cfg: dict) -> None:
        """See ``Runner``, which warns of its own choice on every rank."""
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', r'Setting \w+_NUM_THREADS')
            super().setup_env(env_cfg)

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """The logger of the terminal and the file, see ``Runner``."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(is_for_a_person)
        logger.info(
            f'mmreid {__version__}, {self.cfg.filename or "a config"}. '
            f'The log is in {self._log_dir}'
        )
        return logger

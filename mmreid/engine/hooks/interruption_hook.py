import os
import signal
import sys
import threading

import torch
import torch.distributed as dist
from mmengine.hooks import Hook

from mmreid.registry import HOOKS
from mmreid.utils.checkpoint import WHOLE_FILES

EXIT_STATUS = 75  # EX_TEMPFAIL of sysexits.h: try again


@HOOKS.register_module()
class InterruptionHook(Hook):
    """Ends a training that is asked to stop, in a state to resume from.

    SIGTERM, which a cluster sends before it takes a machine away, and the
    first Ctrl-C let the iteration end, save ``interrupted.pth`` and exit with
    the status 75. A second one ends the process at once. What is asked while
    a stage is prepared, or while a validation runs, waits for the next
    iteration's end.

    Ranks need not hear of it at once: each iteration they tell each other, on
    the host alone, and all stop one iteration after the first was told.
    """

    # After the hook that saves by interval.
    priority = 'LOWEST'
    signals = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.asked = False
        self.stopped = False
        # The handlers that were there before, and what this rank has said.
        self._before = {}
        self._pending = None
        self._group = None

    def before_train(self, runner) -> None:
        """Listen from here on."""
        self._process = os.getpid()
        # Python lets no other thread listen.
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._ask)
                for number in self.signals
            }
        if dist.is_available() and dist.is_initialized():
            # Of the host's memory: no GPU waits for it.
            self._group = dist.new_group(backend='gloo')

    def _ask(self, number: int, frame) -> None:
        # The loaders' processes were forked with this; their parent ends them.
        if os.getpid() != self._process:
            return
        self.asked = True
        self._stop_listening()
        print(
            f'{signal.Signals(number).name}: saves at the end of this '
            'iteration, and stops. Once more stops at once.',
            file=sys.stderr,
        )

    def _stop_listening(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _all_asked(self) -> bool:
        """Whether any rank was asked before its last iteration ended."""
        if self._group is None:
            return self.asked
        answer = False
        if self._pending is not None:
            flag, work = self._pending
            work.wait()
            answer = bool(flag.item())
        flag = torch.tensor([int(self.asked)])
        work = dist.all_reduce(
            flag, dist.ReduceOp.MAX, self._group, async_op=True
        )
        self._pending = flag, work
        return answer

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        """Save and stop, if asked."""
        if self._all_asked():
            self.stopped = True
            runner.save_checkpoint(
                runner.work_dir,
                'interrupted.pth',
                by_epoch=False,
                backend_args=WHOLE_FILES,
            )
            runner.train_loop.stop_training = True

    def leave_train(self, runner) -> None:
        """Leave the signals as they were, however the training ended."""
        self._stop_listening()

    def after_train(self, runner) -> None:
        """Leave the other ranks."""
        if self._pending is not None:
            self._pending[1].wait()
            self._pending = None
        if self._group is not None:
            # Its threads would abort the process at its exit.
            dist.destroy_process_group(self._group)
            self._group = None

    def after_run(self, runner) -> None:
        """End the process, if asked."""
        if self.stopped:
            runner.logger.warning(
                f'Stopped after iteration {runner.iter}, as asked: --resume '
                'goes on.'
            )
            sys.exit(EXIT_STATUS)

import copy
import logging
from dataclasses import dataclass

from mmengine.dataset import default_collate
from mmengine.dist import get_world_size
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from mmreid.datasets.samplers import DomainSampler
from mmreid.registry import DATASETS, LOOPS


@dataclass(frozen=True)
class Stage:
    """One stage of the training.

    Attributes:
        name (str): Its name in ``train_cfg.stages``.
        number (int): Its place, from 0.
        begin (int): First iteration.
        end (int): Iteration it stops before.
        epoch_length (int): Iterations per epoch.
        first_epoch (int): Epochs that the stages before it have.
        batch_size (dict[str, int]): Images per domain and batch.
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
    val_interval: int
    optim_wrapper: dict
    param_scheduler: list

    def epoch(self, iteration: int) -> int:
        """Epoch within the stage, from 0."""
        return (iteration - self.begin) // self.epoch_length


@LOOPS.register_module()
class StagedTrainLoop(BaseLoop):
    """Trains in stages, of which each has its data, optimiser and schedule.

    The stage, and all that depends on it, is a pure function of the
    iteration, so a run resumes at any iteration of any stage: the sampler
    starts at its batch, in the time of one shuffle. Each stage starts with
    a fresh optimiser.

    Hooks may define ``before_stage(runner, stage)`` and
    ``after_stage(runner, stage)``; both also run when a stage is entered by
    resuming. The training batch reaches the model with, in its
    ``data_samples``, the integers ``seed``, ``iteration``, ``stage_epoch``,
    ``num_source`` (images of the domain 'source', which come first) and the
    string ``stage``.

    Args:
        runner (Runner): The runner.
        dataloader (dict): ``dataset`` (config of a data set with
            ``domains``, such as :class:`CrossDomainDataset`) and arguments
            of :class:`torch.utils.data.DataLoader` except for sampler and
            batch size, which are the stage's.
        stages (dict[str, dict]): Name -> dict of ``batch_size`` (images
            per domain over all ranks, e.g. ``dict(source=184, target=184)``;
            an epoch is one pass over the first domain of the data set that
            it names), ``max_epochs`` or ``max_iters``, and optionally
            ``optim_wrapper`` (default: the config's own), a list
            ``param_scheduler`` counting epochs from the start of the stage,
            and ``val_interval`` in epochs (default: at the stage's end
            only).
        order (list[str]): The names of those to train, in order. (A list,
            for MMEngine sorts the keys of a config that it writes to the
            work dir.) Stages that it leaves out are not trained, so that a
            variant can take some of its base.
        first_stage (str, optional): Start with this stage, given the
            weights of ``load_from``. Defaults to None, the first one.
    """

    def __init__(
        self,
        runner,
        dataloader: dict,
        stages: dict,
        order: list[str],
        first_stage: str | None = None,
    ) -> None:
        loader_args = copy.deepcopy(dataloader)
        self.dataset = DATASETS.build(loader_args.pop('dataset'))
        self.dataset.full_init()
        self._loader_args = loader_args
        self._runner = runner
        if not order or len(set(order) & set(stages)) < len(order):
            raise ValueError(
                'train_cfg.order must name some of the stages '
                f'{sorted(stages)}, each once, but is {list(order)}.'
            )
        self.stages = self._parse({name: stages[name] for name in order})
        super().__init__(runner, self._build_dataloader(self.stages[0], 0))
        names = [stage.name for stage in self.stages]
        if first_stage is not None and first_stage not in names:
            raise ValueError(
                f'train_cfg.first_stage is {first_stage!r}, but the stages '
                f'are {names}.'
            )
        start = self.stages[names.index(first_stage or names[0])]
        self._iter = start.begin
        self._epoch = start.first_epoch
        self.stop_training = False
        # Tells the loop, on resuming, which optimiser to build; the loop
        # cannot work without it, so configs need not list it.
        runner.register_hook(dict(type='mmreid.StageHook'), 'VERY_HIGH')
        runner.optim_wrapper = self._build_optim_wrapper(start)
        # Runner.train builds these next, once it has this loop.
        runner.param_schedulers = self._schedulers(start)
        # The stage whose optimiser the runner has.
        self.entered = start

    def _parse(self, stages: dict) -> list[Stage]:
        parsed, begin, first_epoch = [], 0, 0
        for number, (name, cfg) in enumerate(stages.items()):
            cfg = dict(cfg)
            if not cfg.get('batch_size'):
                raise ValueError(
                    f'Stage {name!r} must have a batch_size, such as '
                    'dict(source=64).'
                )
            batch_size = dict(cfg.pop('batch_size'))
            length = DomainSampler(
                self.dataset.domains, batch_size, seed=0
            ).epoch_length
            max_epochs = cfg.pop('max_epochs', None)
            max_iters = cfg.pop('max_iters', None)
            if (max_epochs is None) == (max_iters is None):
                raise ValueError(
                    f'Stage {name!r} must have one of max_epochs and '
                    'max_iters.'
                )
            if max_iters is None:
                max_iters = max_epochs * length
            stage = Stage(
                name=name,
                number=number,
                begin=begin,
                end=begin + max_iters,
                epoch_length=length,
                first_epoch=first_epoch,
                batch_size=batch_size,
                val_interval=cfg.pop('val_interval', 0),
                optim_wrapper=cfg.pop(
                    'optim_wrapper', self._runner.optim_wrapper
                ),
                param_scheduler=cfg.pop('param_scheduler', []),
            )
            if cfg:
                raise ValueError(
                    f'Stage {name!r} has unknown keys {sorted(cfg)}.'
                )
            parsed.append(stage)
            begin = stage.end
            first_epoch += -(-max_iters // length)
        return parsed

    def _build_dataloader(self, stage: Stage, begin: int) -> DataLoader:
        sampler = DomainSampler(
            self.dataset.domains,
            stage.batch_size,
            seed=self._runner.seed,
            stream=stage.number,
            begin=begin - stage.begin,
            end=stage.end - stage.begin,
        )
        return DataLoader(
            self.dataset,
            sampler=sampler,
            batch_size=sum(stage.batch_size.values()) // get_world_size(),
            collate_fn=default_collate,
            **self._loader_args,
        )

    def _build_optim_wrapper(self, stage: Stage):
        # MMEngine logs a line for each parameter with an option of its own:
        # hundreds at every stage.
        logger = MMLogger.get_current_instance()  # The one that it takes.
        level = logger.level
        logger.setLevel(logging.WARNING)
        try:
            return self._runner.build_optim_wrapper(stage.optim_wrapper)
        finally:
            logger.setLevel(level)

    @staticmethod
    def _schedulers(stage: Stage) -> list[dict]:
        """The stage's schedulers, stepping by iteration.

        So their state is right after each iteration, not only at the end of
        an epoch.
        """
        schedulers = []
        for cfg in stage.param_scheduler:
            cfg = dict(cfg)
            if cfg.get('by_epoch', True):
                max_epochs = -(
                    -(stage.end - stage.begin) // stage.epoch_length
                )
                cfg.setdefault('end', max_epochs)
                cfg['convert_to_iter_based'] = True
                cfg['epoch_length'] = stage.epoch_length
            else:
                cfg.setdefault('end', stage.end - stage.begin)
            schedulers.append(cfg)
        return schedulers

    def stage_at(self, iteration: int) -> Stage:
        """The stage that trains at an iteration."""
        for stage in self.stages:
            if iteration < stage.end:
                return stage
        return self.stages[-1]

    def enter(self, stage: Stage) -> None:
        """Give the runner the optimiser and schedulers of a stage."""
        if stage is self.entered:
            return
        runner = self.runner
        runner.optim_wrapper = self._build_optim_wrapper(stage)
        runner.param_schedulers = runner.build_param_scheduler(
            self._schedulers(stage)
        )
        runner.optim_wrapper.initialize_count_status(
            runner.model, self._iter, self.max_iters
        )
        self.entered = stage

    @property
    def max_epochs(self) -> int:
        """Epochs of all stages."""
        last = self.stages[-1]
        return last.first_epoch + -(
            -(last.end - last.begin) // last.epoch_length
        )

    @property
    def max_iters(self) -> int:
        """Iterations of all stages."""
        return self.stages[-1].end

    @property
    def epoch(self) -> int:
        """Current epoch, counted through all stages."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Current iteration, counted through all stages."""
        return self._iter

    @property
    def stage(self) -> Stage:
        """Current stage."""
        return self.stage_at(self._iter)

    def run(self):
        """Train what is left of the stages."""
        runner = self.runner
        runner.call_hook('before_train')
        while self._iter < self.max_iters and not self.stop_training:
            stage = self.stage
            self.enter(stage)
            runner.call_hook('before_stage', stage=stage)
            self._run_stage(stage)
            runner.call_hook('after_stage', stage=stage)
        runner.call_hook('after_train')
        return runner.model

    def _run_stage(self, stage: Stage) -> None:
        runner = self.runner
        self.dataloader = self._build_dataloader(stage, self._iter)
        num_source = stage.batch_size.get('source', 0) // get_world_size()
        self._epoch = stage.first_epoch + stage.epoch(self._iter)
        runner.call_hook('before_train_epoch')
        for data_batch in self.dataloader:
            runner.model.train()
            data_batch['data_samples'].update(
                seed=runner.seed,
                iteration=self._iter,
                stage=stage.name,
                stage_epoch=stage.epoch(self._iter),
                num_source=num_source,
            )
            self._run_iter(data_batch)
            last = self._iter == stage.end
            if last or stage.epoch(self._iter) > stage.epoch(self._iter - 1):
                runner.call_hook('after_train_epoch')
                self._epoch += 1
                epochs = self._epoch - stage.first_epoch
                if runner.val_loop is not None and (
                    last
                    or (stage.val_interval and not epochs % stage.val_interval)
                ):
                    runner.val_loop.run()
                if not last:
                    runner.call_hook('before_train_epoch')
            if self.stop_training:
                break

    def _run_iter(self, data_batch: dict) -> None:
        runner = self.runner
        runner.call_hook(
            'before_train_iter', batch_idx=self._iter, data_batch=data_batch
        )
        outputs = runner.model.train_step(
            data_batch, optim_wrapper=runner.optim_wrapper
        )
        runner.call_hook(
            'after_train_iter',
            batch_idx=self._iter,
            data_batch=data_batch,
            outputs=outputs,
        )
        self._iter += 1

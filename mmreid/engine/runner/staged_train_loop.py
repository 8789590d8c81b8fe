import contextlib
import copy
import difflib
from collections.abc import Iterator

import numpy as np
import torch
from mmengine.dataset import default_collate
from mmengine.dist import get_rank, get_world_size
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from mmreid.datasets.samplers import (
    DomainSampler,
    check_shares,
    uses_labels,
)
from mmreid.errors import InputError
from mmreid.registry import DATASETS, LOOPS, PARAM_SCHEDULERS
from mmreid.structures import BatchInfo, FeatureSet, Stage
from mmreid.utils.checkpoint import find_resumable
from mmreid.utils.logging import warnings_only

from ..extraction import extract
from ..hooks import StageSwitchHook
from ..hooks.utils import algorithm_of


@contextlib.contextmanager
def _explain_lost_worker() -> Iterator[None]:
    """Say what to do where the system ended a process that loads images.

    PyTorch raises it whatever the main process just does, so it may have
    become the cause of another error.
    """
    try:
        yield
    except Exception as error:
        cause = error
        while cause and 'DataLoader worker' not in str(cause):
            cause = cause.__cause__ or cause.__context__
        if not isinstance(cause, RuntimeError):
            raise
        raise InputError(
            f'{cause} A process that loads images was ended from outside, '
            'for lack of memory most likely: lower '
            'train_dataloader.num_workers, and --resume from the last '
            'checkpoint.'
        ) from error


LENGTH_KEYS = ('max_epochs', 'max_iters', 'epoch_length')
STAGE_KEYS = (
    *('batch_size', 'max_epochs', 'max_iters', 'epoch_length', 'sampler'),
    *('optim_wrapper', 'param_scheduler', 'val_interval'),
)


def _check_lengths(name: str, cfg: dict, batch_size: object) -> None:
    """Refuse a stage that would train nothing, or not end."""
    values = {key: cfg.get(key) for key in LENGTH_KEYS}
    if isinstance(batch_size, dict):
        values |= {f'batch_size.{k}': num for k, num in batch_size.items()}
    else:
        raise InputError(
            f'batch_size of stage {name!r} must be images per domain, such as '
            f'dict(source=64), but is {batch_size!r}.'
        )
    for key, value in values.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (whole and value > 0):
            raise InputError(
                f'{key} of stage {name!r} must be a whole number above 0, '
                f'but is {value!r}.'
            )


@LOOPS.register_module()
class StagedTrainLoop(BaseLoop):
    """Trains in stages, of which each has its data, optimiser and schedule.

    The stage, and all that depends on it, is a pure function of the
    iteration, so a run resumes at any iteration of any stage: the sampler
    starts at its batch, in the time of one shuffle. Each stage starts with
    a fresh optimiser.

    The loop asks the algorithm to :meth:`BaseReID.check` model, stages and
    data before anything trains, and hands it each batch with a
    :class:`BatchInfo`. Hooks may define ``before_stage(runner, stage)`` and
    ``after_stage(runner, stage)``; both also run when a stage is entered by
    resuming; and ``leave_train(runner)``, which runs however training ends.
    :class:`StageSwitchHook` must be among them.

    One loader spans a stage, except where a sampler draws by pseudo-labels:
    there each epoch has its own, made after ``before_train_epoch``.

    Args:
        runner (Runner): The runner.
        dataloader (dict): ``dataset`` (config of a
            :class:`DomainDataset`) and arguments of
            :class:`torch.utils.data.DataLoader` except for sampler and batch
            size, which are the stage's.
        stages (dict[str, dict]): Name -> dict of ``batch_size`` (images
            per domain over all ranks, e.g. ``dict(source=184, target=184)``),
            ``max_epochs`` or ``max_iters``, and optionally ``sampler`` (per
            domain, what draws from it, such as
            ``dict(target=dict(type='IdentitySampler'))``; default:
            ``ShuffleSampler``), ``epoch_length`` in iterations (default: one
            pass over the first domain, by name, of ``batch_size``),
            ``optim_wrapper`` (default: the config's own), a list
            ``param_scheduler`` counting epochs from the start of the stage
            and ending with it unless it says otherwise, and ``val_interval``
            in epochs (default: at the stage's end only).
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
            raise InputError(
                'train_cfg.order must name some of the stages '
                f'{sorted(stages)}, each once, but is {list(order)}.'
            )
        self.algorithm = algorithm_of(runner)
        self._check_names(stages, order)
        self.stages = self._parse({name: stages[name] for name in order})
        self.algorithm.check(self.stages, self.dataset)
        self._labels_of: dict[str, tuple] = {}
        first = self.stages[0]
        # Whether it can be built shows now; without pseudo-labels it cannot.
        super().__init__(
            runner,
            DataLoader(self.dataset, 1, sampler=[])
            if self._by_pseudo_labels(first)
            else self._build_dataloader(first, 0),
        )
        names = [stage.name for stage in self.stages]
        if first_stage is not None and first_stage not in names:
            raise InputError(
                f'train_cfg.first_stage is {first_stage!r}, but the stages '
                f'are {names}.'
            )
        start = self.stages[names.index(first_stage or names[0])]
        self._iter = start.begin
        self._epoch = start.first_epoch
        self.stop_training = False
        # What is wrong in a later stage must show before the first trains.
        for stage in self.stages:
            self._check_optimiser(stage)
            self._check_draws(stage)
        runner.optim_wrapper = self._build_optim_wrapper(start)
        # Runner.train builds these next, once it has this loop.
        runner.param_schedulers = self._schedulers(start)
        # The stage whose optimiser the runner has.
        self.entered = start
        # The last features, and what they depend on.
        self._extracted = None, None
        if runner._resume and runner._load_from is None:
            # MMEngine would start afresh where it finds nothing.
            runner._load_from, reason = find_resumable(runner.work_dir)
            runner.logger.info(reason)

    def _check_names(self, stages: dict, order: list[str]) -> None:
        """Refuse a stage that is left out for its name is misspelt."""
        known = self.algorithm.stages
        for name, cfg in stages.items():
            # Whole stages may be those of a base, for another method.
            if name in order or name in known or 'batch_size' in cfg:
                continue
            near = difflib.get_close_matches(name, known)
            raise InputError(
                f'train_cfg.stages has {name!r}, which is neither in '
                f'train_cfg.order, {[*order]}, nor a stage of '
                f'{type(self.algorithm).__name__}, {[*known]}: '
                + (f'rename it to {near[0]!r}.' if near else 'drop it.')
            )

    def _check_optimiser(self, stage: Stage) -> None:
        """Build a stage's optimiser and schedulers, to see whether it can."""
        try:
            optim_wrapper = self._build_optim_wrapper(stage)
            for cfg in self._schedulers(stage):
                PARAM_SCHEDULERS.build(
                    cfg, default_args=dict(optimizer=optim_wrapper)
                )
        # What PyTorch and MMEngine raise at a value that they do not take.
        except (TypeError, ValueError, KeyError, AssertionError) as error:
            raise InputError(
                'The optim_wrapper or param_scheduler of stage '
                f'{stage.name!r} is wrong: {error}'
            ) from error

    def _parse(self, stages: dict) -> list[Stage]:
        parsed, begin, first_epoch = [], 0, 0
        for number, (name, cfg) in enumerate(stages.items()):
            cfg = dict(cfg)
            if not cfg.get('batch_size'):
                raise InputError(
                    f'Stage {name!r} must have a batch_size, such as '
                    'dict(source=64).'
                )
            batch_size = cfg.pop('batch_size')
            _check_lengths(name, cfg, batch_size)
            # Made for what it checks, too.
            one_pass = DomainSampler(self._spans, batch_size, seed=0)
            sampler = dict(cfg.pop('sampler', {}))
            check_shares(batch_size, sampler, get_world_size())
            length = cfg.pop('epoch_length', None) or one_pass.epoch_length
            max_epochs = cfg.pop('max_epochs', None)
            max_iters = cfg.pop('max_iters', None)
            if (max_epochs is None) == (max_iters is None):
                raise InputError(
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
                sampler=sampler,
                val_interval=cfg.pop('val_interval', 0),
                optim_wrapper=cfg.pop(
                    'optim_wrapper', self._runner.optim_wrapper
                ),
                param_scheduler=cfg.pop('param_scheduler', []),
            )
            if cfg:
                raise InputError(
                    f'Stage {name!r} has unknown keys {sorted(cfg)}; it takes '
                    f'{", ".join(STAGE_KEYS)}.'
                )
            parsed.append(stage)
            begin = stage.end
            first_epoch += stage.num_epochs
        return parsed

    @property
    def _spans(self) -> dict[str, range]:
        return {name: d.span for name, d in self.dataset.domains.items()}

    def _by_pseudo_labels(self, stage: Stage) -> set[str]:
        """The domains that a stage draws by pseudo-labels."""
        return {
            name
            for name, cfg in stage.sampler.items()
            if uses_labels(cfg)
            and self.algorithm.sampling_labels(name) is not None
        }

    def _check_draws(self, stage: Stage) -> None:
        """Build what draws without pseudo-labels, to see whether it can."""
        pseudo = self._by_pseudo_labels(stage)
        batch_size, samplers = (
            {name: of[name] for name in of if name not in pseudo}
            for of in (stage.batch_size, stage.sampler)
        )
        if batch_size:
            DomainSampler(
                self._spans,
                batch_size,
                seed=0,
                samplers=samplers,
                labels=self._sampling_labels(stage, set(batch_size)),
            )

    def _sampling_labels(
        self, stage: Stage, domains: set[str]
    ) -> dict[str, tuple]:
        """Labels and cameras of those domains that are drawn by them."""
        found = {}
        for name, cfg in stage.sampler.items():
            if name not in domains or not uses_labels(cfg):
                continue
            if name not in self._labels_of:
                self._labels_of[name] = (
                    self.dataset.person_ids(name),
                    self.dataset.camera_ids(name),
                )
            labels, cameras = self._labels_of[name]
            pseudo = self.algorithm.sampling_labels(name)
            if pseudo is not None:
                labels = pseudo.cpu().numpy()
                if (labels < 0).all():
                    raise InputError(
                        f'Stage {stage.name!r} draws the {name} images by '
                        'pseudo-labels, but no image has a label: add '
                        "pseudo_labels=dict(type='PseudoLabelHook') to "
                        'default_hooks, or see whether prepare_epoch of '
                        f'{type(self.algorithm).__name__} leaves all images '
                        'out.'
                    )
            elif not self.dataset.domains[name].labelled:
                raise InputError(
                    f'{cfg["type"]} of stage {stage.name!r} '
                    f'draws by identities, but the {name} images have none '
                    f'and {type(self.algorithm).__name__} makes no '
                    'pseudo-labels: take another sampler.'
                )
            found[name] = (np.asarray(labels), cameras)
        return found

    def _build_dataloader(
        self, stage: Stage, begin: int, end: int | None = None
    ) -> DataLoader:
        sampler = DomainSampler(
            self._spans,
            stage.batch_size,
            seed=self._runner.seed,
            stream=stage.number,
            samplers=stage.sampler,
            labels=self._sampling_labels(stage, set(stage.batch_size)),
            epoch_length=stage.epoch_length,
            begin=begin - stage.begin,
            end=(stage.end if end is None else end) - stage.begin,
        )
        return DataLoader(
            self.dataset,
            sampler=sampler,
            batch_size=sum(stage.batch_size.values()) // get_world_size(),
            collate_fn=default_collate,
            **self._loader_args,
        )

    def _build_optim_wrapper(self, stage: Stage):
        with warnings_only():
            return self._runner.build_optim_wrapper(stage.optim_wrapper)

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
                cfg.setdefault('end', stage.num_epochs)
                cfg['convert_to_iter_based'] = True
                cfg['epoch_length'] = stage.epoch_length
            else:
                cfg.setdefault('end', stage.length)
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
        return last.first_epoch + last.num_epochs

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

    def seen(self) -> list[dict]:
        """The data of the stages up to the current one, in plain types."""
        seen = []
        for stage in self.stages[: self.entered.number + 1]:
            for name in stage.batch_size:
                for dataset in self.dataset.domains[name].datasets:
                    item = dict(
                        dataset=dataset.metainfo['dataset_name'],
                        split=dataset.split,
                        labelled=dataset.labelled,
                        num_images=len(dataset),
                        holds_test_images=dataset.holds_test_images,
                        drawn=dataset.drawn,
                    )
                    if item not in seen:
                        seen.append(item)
        return seen

    def extract(self, domain: str) -> FeatureSet:
        """Features of every training image of a domain, on every rank.

        Until the next iteration it keeps those that it computed last, for
        whoever asks for the same, and nobody's draws depend on it.

        Args:
            domain (str): Its name.

        Returns:
            FeatureSet: In the order of the images' indices in the domain,
            see :func:`mmreid.engine.extract`.
        """
        weights = self._weights()
        key, found = self._extracted
        if found is None or key != (domain, weights, found.features._version):
            self._extracted = None, None
            # A loader draws a seed for its processes.
            with torch.random.fork_rng(devices=[]):
                found = extract(
                    self.runner.model,
                    self.dataset.images(domain),
                    domain,
                    num_workers=self._loader_args.get('num_workers', 0),
                )
            key = domain, weights, found.features._version
            self._extracted = key, found
        return found

    def _weights(self) -> list[tuple[int, int]]:
        """Which tensors a feature may depend on, and how often each changed.

        The state of a stage, such as a memory, is none of them.
        """
        return [
            (id(tensor), tensor._version)
            for name, tensor in self.algorithm.state_dict(
                keep_vars=True
            ).items()
            if not name.startswith(tuple(self.algorithm.stage_state))
        ]

    def run(self):
        """Train what is left of the stages.

        Raises:
            InputError: If no hook switches the stages.
        """
        runner = self.runner
        if not any(isinstance(h, StageSwitchHook) for h in runner.hooks):
            raise InputError(
                'No hook would let the algorithm prepare its stages: add '
                "stage_switch=dict(type='StageSwitchHook') to default_hooks, "
                'or inherit configs/_base_/default_runtime.py.'
            )
        self._describe()
        try:
            with _explain_lost_worker():
                runner.call_hook('before_train')
                self._run_stages()
                runner.call_hook('after_train')
        finally:
            runner.call_hook('leave_train')
        return runner.model

    def _run_stages(self) -> None:
        runner = self.runner
        while self._iter < self.max_iters and not self.stop_training:
            stage = self.stage
            self.enter(stage)
            self._seed_draws()
            runner.call_hook('before_stage', stage=stage)
            self._run_stage(stage)
            runner.call_hook('after_stage', stage=stage)

    def _describe(self) -> None:
        """Say what trains on what."""
        info = self.runner.logger.info
        for name, domain in self.dataset.domains.items():
            titles = [d.metainfo['dataset_name'] for d in domain.datasets]
            persons = (
                f'{domain.num_identities:,} identities'
                if domain.labelled
                else 'no labels'
            )
            info(
                f'{name}: {" + ".join(titles)}, {len(domain):,} images, '
                f'{persons}, {domain.num_cameras} cameras'
            )
        algorithm = self.algorithm
        num = sum(p.numel() for p in algorithm.parameters())
        info(
            f'{type(algorithm).__name__} with '
            f'{type(algorithm.backbone).__name__}: {num:,} parameters, '
            f'features of {algorithm.feature_length}, on '
            f'{next(algorithm.parameters()).device}'
        )

    def _run_stage(self, stage: Stage) -> None:
        runner = self.runner
        per_epoch = self._by_pseudo_labels(stage)
        self._epoch = stage.first_epoch + stage.epoch(self._iter)
        if not per_epoch:
            self.dataloader = self._build_dataloader(stage, self._iter)
            batches = iter(self.dataloader)
        while self._iter < stage.end and not self.stop_training:
            self._seed_draws()
            runner.call_hook('before_train_epoch')
            end = stage.epoch_end(self._iter)
            if per_epoch:
                self.dataloader = self._build_dataloader(
                    stage, self._iter, end
                )
                batches = iter(self.dataloader)
            while self._iter < end and not self.stop_training:
                runner.model.train()
                self._run_iter(stage, next(batches))
            if self._iter == end:
                self._end_epoch(stage)

    def _end_epoch(self, stage: Stage) -> None:
        runner = self.runner
        runner.call_hook('after_train_epoch')
        self._epoch += 1
        epochs = self._epoch - stage.first_epoch
        if runner.val_loop is None or self.stop_training:
            return
        if self._iter == stage.end or (
            stage.val_interval and not epochs % stage.val_interval
        ):
            runner.val_loop.run()

    def _seed_draws(self) -> None:
        """Make what a network or a clustering draws that of the iteration.

        A resumed run could not go on with the state of the generator, since
        dropout and stochastic depth have moved it.
        """
        key = (self.runner.seed, self._iter, get_rank())
        (state,) = np.random.SeedSequence(key).generate_state(1, np.uint64)
        torch.manual_seed(int(state) >> 1)

    def _info(self, stage: Stage) -> BatchInfo:
        domains, start = {}, 0
        for name in self.dataset.domains:
            if name in stage.batch_size:
                num = stage.batch_size[name] // get_world_size()
                domains[name] = slice(start, start + num)
                start += num
        return BatchInfo(
            stage=stage.name,
            epoch=stage.epoch(self._iter),
            iteration=self._iter,
            seed=self.runner.seed,
            domains=domains,
        )

    def _run_iter(self, stage: Stage, data_batch: dict) -> None:
        runner = self.runner
        self._extracted = None, None
        data_batch['info'] = self._info(stage)
        self._seed_draws()
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

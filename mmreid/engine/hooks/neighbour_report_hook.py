import contextlib
from collections.abc import Iterator

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmreid.errors import InputError
from mmreid.evaluation.unlabelled import QUANTILES, neighbour_report
from mmreid.registry import HOOKS
from mmreid.utils import ranking_metric
from mmreid.utils.files import write_json

from .utils import algorithm_of, cluster_counts

# Keys of a row, and what the log calls them.
TITLES = dict(
    nearest_across_cameras='nearest image is of another camera, %',
    by_chance='  if every image were equally likely, %',
    mutual_across_cameras='mutually nearest across cameras, %',
    agreement='agreement of nearest images, median',
    clusters='clusters',
    clustered='images in a cluster, %',
    mined_positives='mined positives per iteration',
    mined_negatives='mined hard negatives per iteration',
)


@contextlib.contextmanager
def _never_in_the_way(runner) -> Iterator[None]:
    """Let a training go on whose features cannot be compared."""
    try:
        yield
    except InputError as error:
        runner.logger.warning(f'There is no report of neighbours: {error}')


@HOOKS.register_module()
class NeighbourReportHook(Hook):
    """Says what can be known of a training without labels, before and after.

    As a stage begins that reads the domain, and when the training ends, it
    looks at the features of the domain's images
    (:func:`mmreid.evaluation.neighbour_report`), and at what the algorithm
    mined or clustered. The log shows both side by side, ``neighbours.json``
    in the work dir holds all rows. Persons are never read, and no weight and
    no draw of the training depends on it.

    For a MAR the report at the begin is nearly free, since the stage needs
    the same features; the one at the end costs one extraction, and both cost
    the comparison of all pairs, N^2 D multiplications.

    Where the training has no such domain, it does nothing.

    Args:
        domain (str, optional): The domain; None for no report. Defaults to
            'target'.
    """

    # After the hook that lets the algorithm prepare the stage.
    priority = 'LOW'

    def __init__(self, domain: str | None = 'target') -> None:
        self.domain = domain

    def before_stage(self, runner, stage) -> None:
        """Report before the stage."""
        if runner.iter == stage.begin and self.domain in stage.batch_size:
            with _never_in_the_way(runner):
                row = self._add_row(runner, f"'{stage.name}' begins")
                self._log(runner, [row])

    def after_train(self, runner) -> None:
        """Report after the last stage, unless the run was stopped."""
        loop = runner.train_loop
        reads = any(self.domain in stage.batch_size for stage in loop.stages)
        if reads and not loop.stop_training:
            with _never_in_the_way(runner):
                self._add_row(runner, 'end')
                rows = runner.message_hub.get_info('neighbours')
                self._log(runner, rows)
                if is_main_process():
                    write_json(rows, f'{runner.work_dir}/neighbours.json')

    def _add_row(self, runner, when: str) -> dict:
        """Add a report to those of the run, which its checkpoints hold."""
        algorithm = algorithm_of(runner)
        images = runner.train_loop.extract(self.domain)
        row = dict(when=when, iteration=runner.iter)
        if is_main_process():
            agreement = None
            if hasattr(algorithm, 'pair_agreement'):

                def agreement(first, second):
                    return algorithm.pair_agreement(
                        images.features, first, second
                    )

            row |= neighbour_report(
                images, ranking_metric(runner.cfg), agreement
            )
        labels = algorithm.cluster_labels(self.domain)
        if labels is not None and (labels >= 0).any():  # made already
            row |= cluster_counts(labels)
        hub = runner.message_hub
        for name in ('mined_positives', 'mined_negatives'):
            mined = hub.log_scalars.get(f'train/{name}')
            if mined is not None:
                window = runner.log_processor.window_size
                row[name] = float(mined.mean(window))
        # Of a run that is resumed where the stage begins: only once.
        rows = [
            earlier
            for earlier in hub.runtime_info.get('neighbours', [])
            if earlier['iteration'] < runner.iter
        ]
        hub.update_info('neighbours', [*rows, row])
        return row

    def _log(self, runner, rows: list[dict]) -> None:
        if not is_main_process():
            return
        first = rows[0]
        lines = [
            f'{first["num_images"]} {self.domain} images, '
            f'{first["num_cameras"]} cameras: what can be known without '
            'labels, none of it an accuracy',
            f'{"":40}' + ''.join(f'{row["when"]:>18}' for row in rows),
        ]
        middle = len(QUANTILES) // 2
        for key, title in TITLES.items():
            values = [row.get(key) for row in rows]
            if key == 'agreement':
                values = [value and value[middle] for value in values]
            if any(value is not None for value in values):
                cells = (
                    f'{"-" if value is None else format(value, ".5g"):>18}'
                    for value in values
                )
                lines.append(f'{title:40}' + ''.join(cells))
        runner.logger.info('\n  '.join(lines))

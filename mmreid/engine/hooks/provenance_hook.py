from mmengine.dist import master_only
from mmengine.hooks import Hook

from mmreid.datasets.fingerprint import fingerprint
from mmreid.registry import HOOKS
from mmreid.utils.files import write_json
from mmreid.utils.provenance import provenance


@HOOKS.register_module()
class ProvenanceHook(Hook):
    """Writes down who made a model.

    ``run.json`` in the work dir, and ``meta['provenance']`` of each
    checkpoint, hold what :func:`mmreid.utils.provenance.provenance` gives,
    the seed and the :func:`fingerprint` of each data set by domain. The
    config is in both anyway, as MMEngine writes it.
    """

    def before_train(self, runner) -> None:
        """Collect it, and write ``run.json``."""
        domains = runner.train_loop.dataset.domains.values()
        self.record = dict(
            provenance(),
            seed=runner.seed,
            data={
                domain.name: [fingerprint(d) for d in domain.datasets]
                for domain in domains
            },
        )
        self._write(runner)

    @master_only
    def _write(self, runner) -> None:
        write_json(
            dict(self.record, config=runner.cfg.to_dict()),
            f'{runner.work_dir}/run.json',
        )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note it in a checkpoint."""
        checkpoint['meta']['provenance'] = self.record

import torch
import torch.nn.functional as F
from mmengine.dataset import default_collate
from mmengine.dist import all_gather, get_dist_info
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from mmreid.models.utils import kth_largest_agreement
from mmreid.registry import HOOKS

from ..runner import StagedTrainLoop


@HOOKS.register_module()
class MARHook(Hook):
    """What MAR needs beyond the forward pass of a batch.

    Before training: room in the memory for each target image, and checks
    that model, data and mining ratio fit together. At the first iteration of
    the stage ``main``, from one deterministic pass in eval mode with test
    transforms over every image (the published code takes one augmented
    epoch): the scale of the cosines if it is to be measured, the initial
    threshold T and the references of L_CML. A resumed run has them in its
    checkpoint.

    Args:
        batch_size (int): Images per forward of that pass. Defaults to 128.
    """

    def __init__(self, batch_size: int = 128) -> None:
        self.batch_size = batch_size

    @staticmethod
    def _model(runner):
        model = runner.model
        return model.module if is_model_wrapper(model) else model

    def before_run(self, runner) -> None:
        """Check the configuration and allocate the memory.

        Raises:
            ValueError: If the agents are not as many as the auxiliary
                identities, if the main stage takes no images of a domain, or
                if the mining ratio gives no pair.
        """
        # The property would build the loop of a run that only tests.
        loop = runner._train_loop
        if not isinstance(loop, StagedTrainLoop):
            return
        model, dataset = self._model(runner), loop.dataset
        head = model.head
        if head.num_agents != dataset.num_identities:
            raise ValueError(
                f'model.head.num_agents is {head.num_agents}, but the '
                f'auxiliary set has {dataset.num_identities} identities: set '
                f'it to {dataset.num_identities}.'
            )
        for stage in loop.stages:
            if stage.name != 'main':
                continue
            for domain in ('source', 'target'):
                if not stage.batch_size.get(domain):
                    raise ValueError(
                        f"train_cfg.stages.main.batch_size has no '{domain}', "
                        "but MAR's stage 'main' learns from source and target "
                        'images: set it as in dict(source=184, target=184).'
                    )
            if not model.miner:
                continue
            num = stage.batch_size['target']
            if not model.miner.num_similar(num):
                raise ValueError(
                    f'The mining ratio {model.miner.ratio} of the '
                    f'{num * (num - 1) // 2} pairs of {num} target images in '
                    'a batch is less than one pair, so nothing would be '
                    'mined: enlarge batch_size.target of the stage or '
                    'model.miner.ratio.'
                )
        if model.memory:
            model.memory.allocate(
                dataset.num_target_images, head.num_reference_persons
            )

    @torch.no_grad()
    def before_stage(self, runner, stage) -> None:
        """Measure scale, threshold and references as the stage begins."""
        if stage.name != 'main' or runner.iter != stage.begin:
            return
        model = self._model(runner)
        was_training = model.training
        model.eval()
        head = model.head
        if head.measures_scale:
            features, samples = self._extract(runner, model, 'source')
            agents = head.agents[samples['person_id']]
            head.scale.copy_((features * agents).sum(1).mean())
            runner.logger.info(
                'Scale of the cosines, the average own-class product over '
                f'{len(features)} source images: {head.scale.item():.2f}'
            )
        features, samples = self._extract(runner, model, 'target')
        log_soft_multilabel = torch.cat(
            [
                head.log_soft_multilabel(
                    head.reference_cosine(F.normalize(chunk))
                )
                for chunk in features.split(1024)
            ]
        )
        model.loss_cml.init_references(
            log_soft_multilabel, samples['camera_id']
        )
        miner = model.miner
        if miner and hasattr(miner, 'threshold'):
            k = miner.num_similar(len(features))
            miner.threshold.copy_(
                kth_largest_agreement(log_soft_multilabel.exp_(), k)
            )
            num_pairs = len(features) * (len(features) - 1) // 2
            runner.logger.info(
                f'Initial threshold T {miner.threshold.item():.4f}: agreement '
                f'{k} in order of the {num_pairs} target pairs.'
            )
        model.train(was_training)

    def _extract(self, runner, model, domain: str) -> tuple[Tensor, dict]:
        """Features and labels of every image of a domain, on every rank."""
        dataset = runner.train_loop.dataset
        rank, world_size = get_dist_info()
        span = dataset.domains[domain]
        # The same length on each rank: the last ones repeat the first.
        share = -(-len(span) // world_size)
        indices = [
            span[(rank + i * world_size) % len(span)] for i in range(share)
        ]
        loader = DataLoader(
            Subset(dataset, indices),
            self.batch_size,
            num_workers=runner.train_dataloader.num_workers,
            collate_fn=default_collate,
        )
        features, labels = [], []
        for batch in loader:
            if domain == 'source':
                # To be normalised as the source is in training.
                batch['data_samples']['num_source'] = len(batch['inputs'])
            data = model.data_preprocessor(batch, False)
            features.append(model.extract_feat(data['inputs']))
            samples = data['data_samples']
            labels.append(
                torch.stack([samples['person_id'], samples['camera_id']])
            )

        def gather(shares: Tensor) -> Tensor:
            interleaved = torch.stack(all_gather(shares.contiguous()), 1)
            return interleaved.flatten(0, 1)[: len(span)]

        labels = gather(torch.cat(labels, 1).t())
        return gather(torch.cat(features)), dict(
            person_id=labels[:, 0], camera_id=labels[:, 1]
        )

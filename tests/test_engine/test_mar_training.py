from itertools import combinations
from math import log
from statistics import fmean, stdev

import cv2
import pytest
import tiny_mar
import torch
from mmengine.runner import Runner
from tiny_mar import BOUNDARY, MINING, NUM_TARGETS, train

from mmreid.engine.runner import StagedTrainLoop

MAIN_BATCH = 'train_cfg__stages__main__batch_size'
KILL = dict(type='KillHook', event='before_train_iter', at=BOUNDARY)


def runner_at_main(cfg):
    """A runner as it is when the main stage has just begun."""
    runner = Runner.from_cfg(cfg)
    with pytest.raises(tiny_mar.Killed):
        runner.train()
    return runner


@torch.no_grad()
def slow_features(runner, domain):
    """Feature, person and camera of each image, one after the other."""
    runner.model.eval()
    dataset = runner.train_loop.dataset
    rows = []
    for index in dataset.domains[domain].span:
        info = dataset.get_data_info(index)
        image = cv2.imread(info['img_path'])[..., ::-1].copy()
        image = (torch.from_numpy(image).float() - 120) / 60
        (feature,) = runner.model.extract_feat(image.permute(2, 0, 1)[None])
        rows.append((feature.double(), info['person_id'], info['camera_id']))
    return rows


def unit(vector):
    return vector / vector.square().sum().sqrt()


@pytest.mark.parametrize('scale', ['auto', 12.0])
def test_start_of_the_main_stage(tiny_config, scale):
    runner = runner_at_main(
        tiny_config(
            custom_hooks=[KILL],
            model__head__scale=scale,
        )
    )
    model = runner.model
    assert model.training
    agents = model.head.agents.detach().double()
    if scale == 'auto':
        scale = fmean(
            (feature @ agents[person]).item()
            for feature, person, _ in slow_features(runner, 'source')
        )
    assert model.head.scale.item() == pytest.approx(scale, rel=1e-4)

    labels, cameras = [], []
    for feature, _, camera in slow_features(runner, 'target'):
        cosines = torch.stack([unit(a) @ unit(feature) for a in agents])
        labels.append((scale * cosines).softmax(0).tolist())
        cameras.append(camera)
    assert len(labels) == NUM_TARGETS
    agreements = sorted(
        sum(map(min, first, second))
        for first, second in combinations(labels, 2)
    )
    # k = int(p M) of M = 21 * 20 / 2 pairs.
    expected = agreements[-int(0.25 * 210)]
    assert model.miner.threshold.item() == pytest.approx(expected, rel=1e-4)
    for agent in range(len(agents)):
        means, stds = [], []
        for camera in set(cameras):
            values = [
                log(label[agent])
                for label, c in zip(labels, cameras, strict=True)
                if c == camera
            ]
            means.append(fmean(values))
            stds.append(stdev(values))
        assert len(means) == 3
        for reference, value in (
            (model.references.mean, fmean(means)),
            (model.references.std, fmean(stds)),
        ):
            assert reference[agent].item() == pytest.approx(value, rel=1e-3)


def test_features_come_in_order(tiny_config):
    """Also with a worker and a last batch that is not full."""
    runner = runner_at_main(
        tiny_config(custom_hooks=[KILL], train_dataloader__num_workers=1)
    )
    for domain in ('source', 'target'):
        rows = slow_features(runner, domain)
        found = runner.train_loop.extract(domain)
        torch.testing.assert_close(
            found.features.double(),
            torch.stack([row[0] for row in rows]),
            rtol=1e-4,
            atol=1e-5,
        )
        for place, key in ((1, 'person_id'), (2, 'camera_id')):
            values, expected = getattr(found, key), [r[place] for r in rows]
            if (domain, key) == ('target', 'person_id'):
                assert values is None and set(expected) == {-1}
            else:
                assert values.tolist() == expected


def test_resuming_does_not_measure_again(tiny_config, monkeypatch):
    kill = dict(KILL, at=MINING + 3)
    with pytest.raises(tiny_mar.Killed):
        train(tiny_config(custom_hooks=[kill]))

    def extract(*args):
        raise AssertionError('measured again')

    monkeypatch.setattr(StagedTrainLoop, 'extract', extract)
    # Whose report measures at the end.
    off = dict(default_hooks__neighbour_report__domain=None)
    runner = train(tiny_config(resume=True, **off))
    assert runner.iter == tiny_mar.END


@pytest.mark.parametrize(
    'changes, message',
    [
        (
            dict(model__head__num_agents=9),
            'num_agents is 9, but the auxiliary set has 6 .* set it to 6',
        ),
        (
            # 8 * 7 / 2 pairs.
            dict(model__miner__ratio=0.035),
            'ratio 0.035 of the 28 pairs of 8 target images in a batch',
        ),
        (
            {MAIN_BATCH: dict(_delete_=True, source=8)},
            "'main' of MAR learns from source and target .*target=",
        ),
        (
            {MAIN_BATCH: dict(_delete_=True, target=8)},
            "'main' of MAR learns from source and target .*source=",
        ),
        (
            {
                MAIN_BATCH: dict(_delete_=True, source=8),
                'model__miner': None,
            },
            "'main' of MAR learns from source and target .*target=",
        ),
        (
            dict(model__miner__ratio=1.5),
            r'ratio of SoftMultilabelMiner must be in \(0, 1\], but is 1.5',
        ),
        (
            dict(train_dataloader__dataset__target__labelled=True),
            'target of MAR must not bring identities: set labelled=False',
        ),
        (
            dict(
                train_cfg__order=['pretrain', 'mian'],
                train_cfg__stages__mian=dict(
                    batch_size=dict(source=8, target=8), max_epochs=1
                ),
            ),
            "runs 'mian': rename it in train_cfg, to 'main'",
        ),
        (
            dict(train_cfg__first_stage='main'),
            "'main' of MAR needs weights .* no checkpoint is loaded",
        ),
    ],
)
def test_what_does_not_fit(tiny_config, changes, message):
    with pytest.raises(ValueError, match=message):
        train(tiny_config(**changes))


def test_without_miner_and_memory(tiny_config):
    runner = train(
        tiny_config(
            model=dict(miner=None, memory=None),
            train_cfg__stages__pretrain__max_epochs=1,
            train_cfg__stages__main__max_epochs=1,
        )
    )
    assert runner.model.references.std.min() > 0


def test_checkpoint_of_another_target(tiny_config, tmp_path):
    first = train(tiny_config())
    for name, error in (('main', True), ('pretrain', False)):
        cfg = tiny_config(
            f'other_{name}',
            load_from=f'{first.work_dir}/stage_{name}.pth',
            train_cfg__first_stage='main',
            # Three images fewer.
            train_dataloader__dataset__target__indices=18,
        )
        if error:
            with pytest.raises(
                ValueError, match='21 target images.* 18 x 6.*stage_pretrain'
            ):
                train(cfg)
        else:
            assert len(train(cfg).model.memory.rows) == 18


def test_statistics_measured_before_the_training(tiny_config):
    measured = dict(
        type='ReIDDataPreprocessor', measured_on='target', _delete_=True
    )
    cfg = tiny_config(
        model__data_preprocessor=measured,
        train_cfg__stages__pretrain__max_epochs=1,
        train_cfg__stages__main__max_epochs=1,
    )
    runner = train(cfg)
    states = torch.load(f'{runner.work_dir}/stage_main.pth')['state_dict']
    paths = [
        runner.train_loop.dataset.images('target').get_data_info(i)['img_path']
        for i in range(NUM_TARGETS)
    ]
    pixels = torch.cat(
        [torch.from_numpy(cv2.imread(p)).view(-1, 3).double() for p in paths]
    )
    for name, values in (
        ('mean', pixels.mean(0)),
        ('std', pixels.std(0, unbiased=False)),
    ):
        torch.testing.assert_close(
            states[f'data_preprocessor.{name}'].flatten(),
            values.flip(0).float(),
        )
    with pytest.raises(ValueError, match="domains has 'sorce', but the"):
        numbers = dict(mean=(9, 9, 9), std=(9, 9, 9))
        train(
            tiny_config(
                model__data_preprocessor=dict(
                    **measured, domains=dict(sorce=numbers)
                )
            )
        )
    with pytest.raises(ValueError, match="measured_on the domain 'goal'"):
        train(
            tiny_config(
                model__data_preprocessor=dict(measured, measured_on='goal')
            )
        )

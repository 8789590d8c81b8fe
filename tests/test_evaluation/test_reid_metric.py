import logging

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.evaluator import Evaluator

from mmreid.evaluation import (
    ReIDMetric,
    feature_statistics,
    rank_metrics,
)
from mmreid.registry import METRICS

torch.set_num_threads(1)


def make_set(num_query=7, num_gallery=36, dim=5):
    """Fields of a whole data set, query first."""
    size = num_query + num_gallery
    generator = torch.Generator().manual_seed(3)
    return dict(
        features=torch.randn(size, dim, generator=generator),
        person_id=torch.randint(0, 6, (size,), generator=generator),
        camera_id=torch.randint(0, 3, (size,), generator=generator),
        is_query=torch.arange(size) < num_query,
        sample_idx=torch.arange(size),
        skipped_idx=torch.full((size,), -1),
    )


def take(fields, rows):
    return {name: value[rows] for name, value in fields.items()}


def feed(metric, fields, rows, batch_size=4):
    for start in range(0, len(rows), batch_size):
        metric.process(None, [take(fields, rows[start : start + batch_size])])


def direct(fields, **kwargs):
    is_query = fields['is_query'].bool()
    parts = []
    for name in ('features', 'person_id', 'camera_id'):
        parts += [fields[name][is_query], fields[name][~is_query]]
    return rank_metrics(*parts, **kwargs)


def build(**kwargs):
    return METRICS.build(dict(type='ReIDMetric', device='cpu', **kwargs))


def test_equals_rank_metrics_and_clears():
    fields = make_set()
    metric = build(metric='euclidean', ap='mar', topk=(1, 3))
    for _ in range(2):
        feed(metric, fields, list(range(43)))
        result = metric.evaluate(43)
        assert result == direct(
            fields, metric='euclidean', ap='mar', topk=(1, 3)
        )
        assert metric.results == []


def test_feature_statistics_of_query_and_gallery():
    fields = make_set()
    fields['features'][:, 1] = 3
    metric = build(feature_statistics=True)
    feed(metric, fields, list(range(43)))
    result = metric.evaluate(43)
    assert result.pop('dead') == 1
    rank = feature_statistics(fields['features'])['effective_rank']
    assert result.pop('effective-rank') == rank and 3 < rank < 4
    assert result == direct(fields)


def test_order_and_padding_do_not_matter():
    fields = make_set()
    rows = torch.randperm(43, generator=torch.Generator().manual_seed(1))
    metric = build(prefix='market')
    feed(metric, fields, rows.tolist() + [0, 42, 0])
    result = metric.evaluate(43)
    expected = direct(take(fields, rows.sort().values))
    assert result == {f'market/{k}': v for k, v in expected.items()}


def test_logs_a_table(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'mmreid.evaluation.metrics.reid_metric.print_log',
        lambda message, **kwargs: lines.append(message),
    )
    fields = make_set()
    metric = build(ap='trapezoid', topk=(1, 5))
    feed(metric, fields, list(range(43)))
    result = metric.evaluate(43)
    (message,) = lines
    head, names, values = message.splitlines()
    assert '7 query images' in head and '36 gallery' in head
    assert '"trapezoid"' in head
    assert names.split() == ['rank-1', 'rank-5', 'mAP', 'mINP']
    assert values.split()[2] == f'{result["mAP"]:.2f}'
    assert len(names) == len(values)


def test_unreadable_images_are_left_out(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'mmreid.evaluation.metrics.per_image_metric.print_log',
        lambda message, level=logging.INFO, **kwargs: lines.append(
            (level, message)
        ),
    )
    fields = make_set()
    # Images 2 and 20 are broken, their successors were delivered instead.
    rows = torch.arange(43)
    rows[2], rows[20] = 3, 21
    delivered = take(fields, rows)
    delivered['skipped_idx'][2], delivered['skipped_idx'][20] = 2, 20
    metric = build()
    feed(metric, delivered, list(range(43)))
    keep = [i for i in range(43) if i not in (2, 20)]
    assert metric.evaluate(43) == direct(take(fields, keep))
    warnings = [text for level, text in lines if level == logging.WARNING]
    assert len(warnings) == 1 and warnings[0].startswith('2 of 43 images')


def test_keeps_copies():
    fields = make_set()
    expected = direct(fields)
    metric = build()
    for view in (slice(0, 20), slice(20, 43)):
        metric.process(None, [take(fields, view)])
    kept = metric.results[0][0]
    assert kept.untyped_storage().nbytes() == kept.numel() * 4
    fields['features'].zero_()
    assert metric.evaluate(43) == expected


def test_in_an_evaluator():
    fields = make_set()
    evaluator = Evaluator(dict(type='mmreid.ReIDMetric', device='cpu'))
    for rows in torch.arange(43).split(8):
        evaluator.process(data_samples=[take(fields, rows)])
    assert evaluator.evaluate(43) == direct(fields)


def test_errors():
    fields = make_set()
    metric = build()
    feed(metric, fields, list(range(42)))
    with pytest.raises(ValueError, match=r'1 absent \(\[42\]\)'):
        metric.evaluate(43)
    with pytest.raises(ValueError, match='43 absent'):
        metric.evaluate(43)
    feed(metric, fields, list(range(43)))
    with pytest.raises(ValueError, match=r'0\.\.29, got 43 distinct'):
        metric.evaluate(30)
    with pytest.raises(ValueError, match="needs .'camera_id'."):
        metric.process(
            None,
            [{k: v for k, v in fields.items() if k != 'camera_id'}],
        )
    with pytest.raises(ValueError, match='one person_id per image'):
        metric.process(None, [fields | dict(person_id=torch.arange(3))])
    fields['is_query'][:] = False
    feed(metric, fields, list(range(43)))
    with pytest.raises(ValueError, match='0 query and 43 gallery'):
        metric.evaluate(43)
    with pytest.raises(ValueError, match='ap must be one of'):
        ReIDMetric(ap='oxford')


def one_rank(rank, world_size, init_file):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo',
        init_method=f'file://{init_file}',
        rank=rank,
        world_size=world_size,
    )
    metric = ReIDMetric(device='cpu')

    # 603 queries make three blocks: two for rank 0, one for rank 1. An odd
    # number of images: the sampler shows image 0 twice.
    fields = make_set(603, 202, dim=33)
    rows = torch.arange(rank, 806, world_size) % 805
    feed(metric, fields, rows.tolist(), batch_size=64)
    # Bit for bit: not approximately.
    assert metric.evaluate(805) == direct(fields)

    # One rank brings nothing at all.
    fields = make_set()
    feed(metric, fields, list(range(43)) if rank else [])
    assert metric.evaluate(43) == direct(fields)
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    mp.spawn(one_rank, (2, str(tmp_path / 'init')), nprocs=2)

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mmengine.evaluator import Evaluator

from mmreid.evaluation import AttributeMetric
from mmreid.registry import METRICS

torch.set_num_threads(1)


def make_set(attributes, scores):
    attributes = torch.as_tensor(attributes, dtype=torch.int64)
    size = len(attributes)
    return dict(
        attribute_scores=torch.as_tensor(scores, dtype=torch.float32),
        attributes=attributes,
        sample_idx=torch.arange(size),
        skipped_idx=torch.full((size,), -1),
    )


def random_set(size=11, m=4):
    generator = torch.Generator().manual_seed(5)
    return make_set(
        torch.randint(-1, 2, (size, m), generator=generator),
        torch.rand(size, m, generator=generator),
    )


def take(fields, rows):
    return {name: value[rows] for name, value in fields.items()}


def build(m=4, **kwargs):
    metric = METRICS.build(dict(type='AttributeMetric', **kwargs))
    metric.dataset_meta = dict(attribute_names=[f'a{i}' for i in range(m)])
    return metric


def evaluate(fields, rows=None, **kwargs):
    size, m = fields['attributes'].shape
    metric = build(m, **kwargs)
    rows = torch.arange(size) if rows is None else torch.tensor(rows)
    for part in rows.split(4):
        metric.process(None, [take(fields, part)])
    return metric.evaluate(size)


def oracle(attributes, scores):
    """Image by image, in plain Python."""
    balanced, accuracy, majority = [], [], []
    for truth, score in zip(
        np.array(attributes).T, np.array(scores).T, strict=True
    ):
        pairs = [
            (t, s > 0.5) for t, s in zip(truth, score, strict=True) if t != -1
        ]
        right = {
            value: [p == value for t, p in pairs if t == value]
            for value in (0, 1)
        }
        if pairs:
            hits = sum(right[0]) + sum(right[1])
            accuracy.append(hits / len(pairs))
            majority.append(max(len(right[0]), len(right[1])) / len(pairs))
        if right[0] and right[1]:
            rates = [sum(r) / len(r) for r in right.values()]
            balanced.append(sum(rates) / 2)

    def mean(values):
        return 100 * sum(values) / len(values) if values else math.nan

    return dict(
        mA=mean(balanced),
        attribute_accuracy=mean(accuracy),
        majority_accuracy=mean(majority),
    )


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_equals_the_oracle(data):
    shape = data.draw(
        st.tuples(st.integers(1, 9), st.integers(1, 4)), label='N, m'
    )
    attributes = data.draw(
        arrays(np.int64, shape, elements=st.integers(-1, 1))
    )
    scores = data.draw(
        arrays(
            np.float32,
            shape,
            elements=st.sampled_from([0.0, 0.375, 0.5, 0.515625, 1.0]),
        )
    )
    if (attributes == -1).all():
        attributes[0, 0] = 1
    assert evaluate(make_set(attributes, scores)) == pytest.approx(
        oracle(attributes, scores), nan_ok=True
    )


def test_by_hand():
    # The first: TPR 1/2, TNR 1, 3 of 4 right, majority 2 of 4. The second:
    # all present, 2 of 3 right. The third: nothing is known.
    fields = make_set(
        [[1, 1, -1], [1, 1, -1], [0, 1, -1], [0, -1, -1]],
        [[0.9, 0.9, 1], [0.5, 0.6, 0], [0.1, 0.2, 1], [0.5, 0.1, 0]],
    )
    assert evaluate(fields, prefix='market') == pytest.approx(
        {
            'market/mA': 75,
            'market/attribute_accuracy': (75 + 200 / 3) / 2,
            'market/majority_accuracy': (50 + 100) / 2,
        }
    )


def test_logs_a_table(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'mmreid.evaluation.metrics.attribute_metric.print_log',
        lambda message, **kwargs: lines.extend(message.splitlines()),
    )
    metric = build(2)
    metric.dataset_meta['attribute_names'] = ['hat', 'downpurple']
    fields = make_set(
        [[1, 0], [1, 0], [1, 0], [0, -1]],
        [[0.9, 0], [0.9, 0], [0.1, 0.9], [0.1, 0.9]],
    )
    metric.process(None, [fields])
    metric.evaluate(4)
    head, names, hat, purple, *summary = lines
    assert head.startswith('4 images, 2 attributes')
    assert head.endswith('as only one class is there: downpurple')
    assert names.split() == ['positive', 'accuracy', 'majority', 'balanced']
    assert hat.split() == ['hat', '75.00', '75.00', '75.00', '83.33']
    assert purple.split() == ['downpurple', '0.00', '66.67', '100.00', 'nan']
    assert len(names) == len(hat) == len(purple)
    assert summary[0] == 'mA 83.33'


def test_order_padding_and_repetition_do_not_matter():
    fields = random_set()
    expected = evaluate(fields)
    rows = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    assert evaluate(fields, rows.tolist() + [0, 10, 0]) == expected


def test_unreadable_images_are_left_out():
    fields = random_set()
    rows = torch.arange(11)
    rows[3] = 4  # delivered in place of image 3
    delivered = take(fields, rows)
    delivered['skipped_idx'][3] = 3
    keep = [i for i in range(11) if i != 3]
    readable = make_set(
        fields['attributes'][keep], fields['attribute_scores'][keep]
    )
    assert evaluate(delivered) == evaluate(readable)


def test_keeps_copies():
    fields = random_set()
    expected = evaluate(fields)
    metric = build()
    metric.process(None, [fields])
    fields['attribute_scores'].zero_()
    fields['attributes'].zero_()
    assert metric.evaluate(11) == expected


def test_in_an_evaluator():
    fields = random_set()
    evaluator = Evaluator(dict(type='mmreid.AttributeMetric'))
    evaluator.dataset_meta = dict(attribute_names=list('abcd'))
    evaluator.process(data_samples=[fields])
    assert evaluator.evaluate(11) == evaluate(fields)


def test_errors():
    fields = random_set()
    with pytest.raises(ValueError, match='needs 3 attribute_scores per .*4'):
        build(3).process(None, [fields])
    wrong = fields | dict(attributes=fields['attributes'][:, :3])
    with pytest.raises(ValueError, match=r'same shape, got \(11, 3\) and'):
        build().process(None, [wrong])
    logits = fields | dict(attribute_scores=torch.full((11, 4), 1.5))
    with pytest.raises(ValueError, match='probabilities .* from 1.5 to 1.5'):
        build().process(None, [logits])
    raw = fields | dict(attributes=fields['attributes'] + 1)
    with pytest.raises(ValueError, match='attributes of 1, 0 or -1'):
        build().process(None, [raw])
    with pytest.raises(ValueError, match="needs .'attribute_scores'. in what"):
        build().process(
            None,
            [{k: fields[k] for k in fields if k != 'attribute_scores'}],
        )
    with pytest.raises(ValueError, match='one sample_idx per image'):
        build().process(None, [fields | dict(sample_idx=torch.arange(3))])
    for meta in (None, dict(dataset_name='viper')):
        metric = AttributeMetric()
        metric.dataset_meta = meta
        with pytest.raises(ValueError, match='set attribute_file of the eval'):
            metric.process(None, [fields])
    metric = build()
    metric.process(None, [fields])
    with pytest.raises(ValueError, match=r'AttributeMetric .* 1 absent'):
        metric.evaluate(12)
    fields['attributes'][:] = -1
    with pytest.raises(ValueError, match='11 images, of none of which'):
        evaluate(fields)


def one_rank(rank, world_size, init_file):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo',
        init_method=f'file://{init_file}',
        rank=rank,
        world_size=world_size,
    )
    fields = random_set()
    metric = build()
    # An odd number of images: the sampler shows image 0 twice.
    rows = torch.arange(rank, 12, world_size) % 11
    metric.process(None, [take(fields, rows)])
    result = metric.evaluate(11)
    truth = oracle(fields['attributes'], fields['attribute_scores'])
    assert result == pytest.approx(truth)
    # One rank brings nothing at all.
    if rank:
        metric.process(None, [fields])
    assert metric.evaluate(11) == result
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    mp.spawn(one_rank, (2, str(tmp_path / 'init')), nprocs=2)

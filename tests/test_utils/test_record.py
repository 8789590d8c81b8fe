import json
import statistics

import pytest

from mmreid.utils.record import digest, update_record


def line(title, **metrics):
    """A line of the seeds that the names of its scores end with."""
    return dict(
        title=title,
        settings='a',
        seeds=[int(name[1:]) for name in metrics],
        metrics=[{'mAP': value} for value in metrics.values()],
        spread=[{} for _ in metrics],
        seconds=[60 for _ in metrics],
    )


def table(*lines, **changes):
    table = dict(experiment='table-1', config='tiny', command='tool --amp')
    return table | dict(lines=lines) | changes


def read(path):
    return {ln['title']: ln for ln in json.loads(path.read_text())['lines']}


def test_seeds_of_several_machines_add_up(tmp_path):
    path = tmp_path / 'record.json'
    empty = line('not there')
    update_record(path, table(line('MAR', s1=10.0), line('BN', s1=4), empty))
    lines = read(path)
    assert list(lines) == ['MAR', 'BN']
    assert lines['MAR']['mean'] == {'mAP': 10}
    assert lines['MAR']['std'] == {'mAP': None}
    # Another machine has other seeds, and another line.
    update_record(path, table(line('w/o', s0=1.0), line('MAR', s0=12, s3=17)))
    lines = read(path)
    assert list(lines) == ['w/o', 'MAR', 'BN']
    mar = lines['MAR']
    assert mar['seeds'] == [0, 1, 3] and len(mar['spread']) == 3
    assert [m['mAP'] for m in mar['metrics']] == [12, 10, 17]
    assert mar['mean']['mAP'] == pytest.approx(13)
    assert mar['std']['mAP'] == pytest.approx(statistics.stdev([12, 10, 17]))
    assert lines['BN']['metrics'] == [{'mAP': 4}]
    command = json.loads(path.read_text())['command']
    assert command == 'tool --amp --seeds 0 1 3'
    # The same seed again takes the place of what was there.
    update_record(path, table(line('MAR', s1=11.0)))
    metrics = read(path)['MAR']['metrics']
    assert [m['mAP'] for m in metrics] == [12, 11, 17]


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(experiment='fig-6'), "is of the experiment 'table-1', not of"),
        (dict(config='other'), "is of the config 'tiny', not of 'other'"),
        (
            dict(lines=[dict(line('MAR', s2=1.0), settings='b')]),
            "has 'MAR' with other settings",
        ),
    ],
)
def test_what_does_not_belong_is_refused(tmp_path, changes, message):
    path = tmp_path / 'record.json'
    update_record(path, table(line('MAR', s1=10.0)))
    before = path.read_text()
    with pytest.raises(ValueError, match=message):
        update_record(path, table(**changes))
    assert path.read_text() == before


def test_digest_is_of_the_values():
    first = digest(dict(a=1, b=[2, 3]))
    assert first == digest(dict(b=[2, 3], a=1))
    assert first != digest(dict(a=1, b=[3, 2]))

"""Records of experiments: what benchmarks/results/ holds of a table."""

import hashlib
import json
import os.path as osp

import numpy as np

from mmreid.errors import InputError

from .files import write_json

# What a line keeps of each of its seeds.
PER_SEED = ('seeds', 'metrics', 'spread', 'seconds')
# What tells one line from another.
OF_LINE = (
    *('title', 'row', 'trained', 'dataset', 'x', 'paper'),
    'feature_length',
)


def digest(settings: dict) -> str:
    """A name of settings, the same on every machine."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def statistics(values: list[float]) -> tuple[float, float | None]:
    """Mean, and the sample standard deviation of more than one."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), deviation


def update_record(path: str, table: dict) -> None:
    """Write a table to a record, beside the seeds that it has.

    Long tables are made seed by seed, on more than one machine: seeds of the
    record that the table lacks stay, those that it has are replaced. Names of
    machines and folders are left out.

    Args:
        path (str): The record, a JSON file; it need not be there.
        table (dict): ``experiment``, ``title``, ``config``, ``ap``,
            ``command`` (without ``--seeds``: those of all lines are added)
            and ``lines``. A line has :data:`OF_LINE`, of
            each of its seeds :data:`PER_SEED`, ``settings`` (:func:`digest`)
            and ``versions``.

    Raises:
        InputError: If the record is of another table, or if a line has been
            made with other settings.
    """
    lines = [dict(line) for line in table['lines'] if line['seeds']]
    lines = _merged(path, read_record(path, table), lines)
    for line in lines:
        columns = line['metrics'][0]
        line['mean'], line['std'] = {}, {}
        for name in columns:
            mean, std = statistics([m[name] for m in line['metrics']])
            line['mean'][name], line['std'][name] = mean, std
    seeds = sorted({seed for line in lines for seed in line['seeds']})
    command = table['command']
    if seeds not in ([], [0]):  # 0 is what the tool takes by itself
        command += f' --seeds {" ".join(map(str, seeds))}'
    write_json(dict(table, command=command, lines=lines), path)


def read_record(path: str, table: dict) -> list[dict]:
    """The lines of a record, none if it is not there.

    Args:
        path (str): The record.
        table (dict): ``experiment`` and ``config`` that it must be of.

    Raises:
        InputError: If it is of another table, or no record.
    """
    if not osp.isfile(path):
        return []
    try:
        with open(path, encoding='utf-8') as file:
            record = json.load(file)
        lines = list(record['lines'])
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"--record: '{path}' is no record of tools/reproduce.py: name "
            'another file.'
        ) from error
    for key in ('experiment', 'config'):
        if record.get(key) != table[key]:
            raise InputError(
                f"--record: '{path}' is of the {key} "
                f"'{record.get(key)}', not of '{table[key]}'."
            )
    return lines


def _merged(path: str, old: list[dict], new: list[dict]) -> list[dict]:
    """Lines of both, in the order of the new ones, then of the old."""
    merged = []
    for line in new:
        before = next((o for o in old if o['title'] == line['title']), None)
        if before:
            if before['settings'] != line['settings']:
                raise InputError(
                    f"--record: '{path}' has '{line['title']}' with other "
                    'settings (or another --amp): name another file, or '
                    'remove it.'
                )
            kept = [
                i
                for i, seed in enumerate(before['seeds'])
                if seed not in line['seeds']
            ]
            for key in PER_SEED:
                line[key] = [before[key][i] for i in kept] + line[key]
            order = np.argsort(line['seeds'])
            for key in PER_SEED:
                line[key] = [line[key][i] for i in order]
        merged.append(line)
    titles = {line['title'] for line in new}
    return merged + [line for line in old if line['title'] not in titles]

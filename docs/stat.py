"""Write docs/model_zoo.md and the tables of configs/*/README.md.

They are the results that the metafiles name. Run it after a change of a
metafile or of a record: ``python docs/stat.py``.
"""

import json
import os.path as osp
from decimal import ROUND_HALF_UP, Decimal

import yaml

from mmreid.utils import read_config

ROOT = osp.dirname(osp.dirname(osp.abspath(__file__)))
HEAD = """# Model zoo

Written by `python docs/stat.py` from the metafiles of `configs/` and the
records of `benchmarks/results/`. Rank-1 and mAP are per cent, mean and sample
standard deviation over the seeds; with one seed on random splits, over the
splits. A command may train more lines than its record has. The paper's
numbers are of its own data and its own AP formula. Times are of one or two
CPU cores, training and scoring. No weights are published: the licences of the
data sets do not allow it for all of them, and every command below makes its
own.
"""
# What follows it in a method's README is the table.
MARK = '<!-- Written by docs/stat.py from here to the end. -->\n'
COLUMNS = (
    'config',
    'source -> target',
    'line',
    'rank-1',
    'mAP',
    'paper, rank-1 / mAP',
    'AP formula',
    'seeds',
    'minutes',
)


def load_metafiles() -> list[dict]:
    """What model-index.yml imports."""
    with open(osp.join(ROOT, 'model-index.yml'), encoding='utf-8') as file:
        paths = yaml.safe_load(file)['Import']
    metafiles = []
    for path in paths:
        with open(osp.join(ROOT, path), encoding='utf-8') as file:
            metafiles.append(yaml.safe_load(file))
    return metafiles


def load_line(result: dict) -> tuple[dict, dict]:
    """The record that a result names, and its line.

    Raises:
        ValueError: If the record has no such line.
    """
    with open(osp.join(ROOT, result['Record']), encoding='utf-8') as file:
        record = json.load(file)
    for line in record['lines']:
        if line['title'] == result['Line']:
            return record, line
    raise ValueError(f"'{result['Record']}' has no line '{result['Line']}'.")


def source_of(config: str) -> str:
    """The labelled data sets of a config, by their types."""
    domains = read_config(osp.join(ROOT, config)).train_dataloader.dataset
    sets = domains.get('source') or []
    sets = sets if isinstance(sets, list | tuple) else [sets]
    return ' + '.join(dict.fromkeys(s['type'] for s in sets))


def tenths(value: float) -> str:
    """63.15 is 63.2, as one rounds by hand."""
    return str(Decimal(str(value)).quantize(Decimal('0.1'), ROUND_HALF_UP))


def score(line: dict, name: str) -> str:
    """Mean and deviation of a metric; none of what no seed changes."""
    if name not in line['mean']:
        return '-'
    deviation = line['std'][name]
    if deviation is None:
        deviation = (line['spread'][0] or {}).get(name)
    text = tenths(line['mean'][name])
    return f'{text} ± {tenths(deviation)}' if deviation else text


def row(config: str, result: dict, root: str) -> list[str]:
    record, line = load_line(result)
    paper = line['paper']
    sides = [source_of(config), line['dataset']]
    scored = ' -> '.join(dict.fromkeys(filter(None, sides)))
    if record['experiment'].endswith('_val'):
        scored += ', validation identities'
        paper = {}  # of the test
    if config.endswith('_demo.py'):
        scored += ', embedded pedestrians'
    seconds = [s for s in line['seconds'] if s is not None]
    # Of two records of one config, what tells them apart.
    options = record['command'].partition(' --cfg-options ')[2]
    return [
        f'[{osp.basename(config)[:-3]}]({root}/{config})',
        scored,
        line['title'] + f' (`{options}`)' * bool(options),
        score(line, 'rank-1'),
        score(line, 'mAP'),
        f'{paper.get("rank-1", "-")} / {paper.get("mAP", "-")}'
        if paper
        else '-',
        record['ap'],
        ', '.join(map(str, line['seeds'])),
        f'{sum(seconds) / len(seconds) / 60:.0f}' if seconds else '-',
    ]


def results_of(metafile: dict, root: str) -> str:
    """The table of a method, and the commands that make its numbers.

    Args:
        metafile (dict): The method's.
        root (str): The way from the page to the root of the project.
    """
    parts, rows, without, records = [], [], [], {}
    for model in metafile['Models']:
        results = model.get('Results', [])
        rows += [row(model['Config'], result, root) for result in results]
        records |= {r['Record']: load_line(r)[0] for r in results}
        if not results:
            without.append(f'`{model["Name"]}`')
    if rows:
        table = [list(COLUMNS), ['---'] * len(COLUMNS), *rows]
        lines = [f'| {" | ".join(cells)} |' for cells in table]
        parts.append('\n'.join(lines) + '\n')
    for path, record in records.items():
        name = f'[{osp.basename(path)}]({root}/{path})'
        parts.append(f'{name}: `python {record["command"]}`\n')
    if without:
        parts.append(f'No recorded result: {", ".join(without)}.\n')
    return '\n'.join(parts)


def pages() -> dict[str, str]:
    """What is to stand in which file, by its path."""
    parts, found = [HEAD], {}
    for metafile in load_metafiles():
        (collection,) = metafile['Collections']
        parts += [f'## {collection["Name"]}\n', results_of(metafile, '..')]
        with open(osp.join(ROOT, collection['README']), encoding='utf-8') as f:
            text, mark, _ = f.read().partition(MARK)
        if not mark:
            raise ValueError(f"'{collection['README']}' has no '{MARK}'.")
        found[collection['README']] = (
            f'{text}{mark}\n{results_of(metafile, "../..")}'
        )
    found['docs/model_zoo.md'] = '\n'.join(parts)
    return found


if __name__ == '__main__':
    for path, text in pages().items():
        with open(osp.join(ROOT, path), 'w', encoding='utf-8') as file:
            file.write(text)

"""The tables and figures of a paper, as ``table.py`` says them."""

import difflib
import os.path as osp
import runpy
from dataclasses import dataclass, field, fields

from mmreid.errors import InputError

from .config import Row, load_table, unknown_row

COLUMNS = ('rank-1', 'rank-5', 'rank-10', 'mAP')


@dataclass
class Cell:
    """One line of a table, or one picture.

    Attributes:
        title (str): What it is called there.
        row (str): The row of ``table.py`` that is trained, '' for the main
            config itself. Defaults to ''.
        configs (list[str], optional): The main configs that it is made for,
            as ``table.py`` names them. Defaults to None, all of them.
        stage (str, optional): Whose checkpoint is scored; ``'untrained'``:
            the weights that the config starts from. Defaults to None, the
            last stage.
        bn (bool): Whether the batch norms' statistics are estimated anew on
            the target's training images. Defaults to False.
        camera_mean (bool): Whether each camera's mean feature, of the
            target's training images, is subtracted. Defaults to False.
        whole (bool): Whether all images are scored at once where the data
            set has random splits. Defaults to False.
        options (dict): Settings of the config for the scoring. Defaults to
            none.
        x (float, optional): Where it is on a curve; in ``table.py`` also a
            dict, by main config. Defaults to None.
        tool (str, optional): The tool of ``tools/analysis_tools`` that makes
            it, ``TOOL.py CONFIG CHECKPOINT --out PICTURE``, in place of a
            score. Defaults to None.
        log (bool): Whether the tool reads the last stage's log rather than
            its checkpoint, ``TOOL.py WORK_DIR PICTURE``. Defaults to False.
        panels (dict[str, str]): Further checkpoints for the tool, as it takes
            them, ``CONFIG.py:ROW:CHECKPOINT``: by the row that shows it the
            row and stage that is trained, ``'ROW:STAGE'``. Defaults to none.
        paper (dict): The paper's metrics, by main config. Defaults to none.
    """

    title: str
    row: str = ''
    configs: list[str] | None = None
    stage: str | None = None
    bn: bool = False
    camera_mean: bool = False
    whole: bool = False
    options: dict = field(default_factory=dict)
    x: float | None = None
    tool: str | None = None
    log: bool = False
    panels: dict[str, str] = field(default_factory=dict)
    paper: dict = field(default_factory=dict)


@dataclass
class Experiment:
    """A table or a figure of a paper, on one main config.

    Attributes:
        name (str): Such as 'table-3'.
        title (str): What it shows.
        config (str): The main config, such as 'mar_msmt_market'.
        columns (tuple[str]): The metrics that are shown.
        x (str): Name of the horizontal axis, '' if it is no curve.
        cells (list[tuple[Cell, Row]]): The lines, with what each trains.
        table (dict[str, Row]): All rows there are (:func:`load_table`).
        embedded (dict, optional): How the config's data are drawn, see
            :func:`load_experiment`.
    """

    name: str
    title: str
    config: str
    columns: tuple[str, ...]
    x: str
    cells: list[tuple[Cell, Row]]
    table: dict[str, Row]
    embedded: dict | None = None


def load_experiment(
    folder: str, name: str, config: str | None = None
) -> Experiment:
    """Read an experiment of a ``table.py``.

    Beside ``configs`` and ``rows`` (:func:`load_table`) it has
    ``experiments``: by name a dict with ``title``, ``cells``, each a dict of
    what :class:`Cell` has, and, where they apply, ``configs``, the main
    configs that it is made for if not those of the table, ``columns`` and
    ``x``. A cell that, or whose row, is not made for the main config is left
    out.
    ``stands_for`` names, for a main config on other data, the one whose
    numbers of the paper stand beside its own. ``embedded`` says how the data
    of a main config are drawn: ``write``, a function of
    :mod:`mmreid.synthetic`, its arguments, ``data``, and ``roots``, the
    settings that name the folder, ``tool_roots``, further ones for pictures;
    ``smoke`` has smaller ``data`` and the ``options`` of the config that go
    with them.

    Args:
        folder (str): Where ``table.py`` is.
        name (str): The experiment; ``'rows'`` is the main config and all of
            its rows.
        config (str, optional): The main config. Defaults to None, the first
            that the experiment is made for.

    Returns:
        Experiment: The experiment.

    Raises:
        FileNotFoundError: If there is no table.
        InputError: If the table has no such experiment, the experiment is
            not made for the config, or a cell is wrong.
    """
    path = osp.join(folder, 'table.py')
    table = load_table(path)
    content = runpy.run_path(path)
    experiments = dict(content.get('experiments', {}))
    experiments['rows'] = _all_rows(table)
    if name not in experiments:
        near = difflib.get_close_matches(name, experiments) or experiments
        raise InputError(
            f"'{path}' has no experiment '{name}'; it has {', '.join(near)}."
        )
    written = experiments[name]
    configs = [*map(_stem, written.get('configs') or content['configs'])]
    config = config or configs[0]
    if config not in configs:
        raise InputError(
            f"'{name}' of '{path}' is not made for the config '{config}', "
            f'but for {", ".join(configs)}.'
        )
    stands_for = content.get('stands_for', {}).get(config, config)
    known = {f.name for f in fields(Cell)}
    cells, names = [], {row.name for row in table.values()}
    for line in written['cells']:
        unknown = sorted(set(line) - known)
        if unknown or 'title' not in line:
            raise InputError(
                f"A cell of '{name}' in '{path}' must have a title, and of "
                f'{", ".join(sorted(known))} what applies; it is {line}.'
            )
        cell = Cell(**line)
        cell.paper = cell.paper.get(stands_for, {})
        if cell.configs and config not in map(_stem, cell.configs):
            continue
        if isinstance(cell.x, dict):
            cell.x = cell.x[config]
        row = f'{config}_{cell.row}' if cell.row else config
        if row in table:
            cells.append((cell, table[row]))
        elif not any(n.endswith(f'_{cell.row}') for n in names):
            raise InputError(unknown_row(path, row, table))
    return Experiment(
        name,
        written['title'],
        config,
        tuple(written.get('columns', COLUMNS)),
        written.get('x', ''),
        cells,
        table,
        content.get('embedded', {}).get(config),
    )


def _stem(config: str) -> str:
    return osp.splitext(osp.basename(config))[0]


def _all_rows(table: dict[str, Row]) -> dict:
    """The main configs and their rows, without a paper's number."""
    titles = {'': 'the main config'}
    configs: dict[str, None] = {}
    for row in table.values():
        stem = _stem(row.config)
        configs[f'{stem}.py'] = None
        if row.name != stem:
            titles.setdefault(row.name[len(stem) + 1 :], row.title)
    return dict(
        title='every row of the table',
        configs=list(configs),
        cells=[dict(title=t, row=name) for name, t in titles.items()],
    )

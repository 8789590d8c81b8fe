"""Read configs: a file, or a row of the table beside it."""

import copy
import difflib
import os.path as osp
import re
import runpy
from dataclasses import dataclass

from mmengine.config import Config

from mmreid.errors import InputError

from .package_files import locate_config

REFERENCE = re.compile(r'\{\{\s*_base_\.([\w.]+)\s*\}\}')


def read_config(path: str, options: dict | None = None) -> Config:
    """Read the config that a user names.

    Args:
        path (str): A config, ``CONFIG.py``, or one changed as a row of the
            ``table.py`` beside it says, ``CONFIG.py:ROW``; one that comes
            with the package as ``mmreid::FOLDER/CONFIG.py[:ROW]``.
        options (dict, optional): Settings that replace those of the config,
            as ``--cfg-options`` gives them. Defaults to None.

    Returns:
        Config: The config, its domains derived (:func:`derive_domains`); its
        ``filename`` is ``CONFIG_ROW.py`` for a row.

    Raises:
        FileNotFoundError: If the config does not exist, or has no table.
        InputError: If the file cannot be read, or the options not merged; if
            the table has no such row; or if the target is wrong.
    """
    path = locate_config(path)
    stem, is_row, row = path.partition('.py:')
    if is_row:
        table = osp.join(osp.dirname(stem), 'table.py')
        return load_row(table, f'{osp.basename(stem)}_{row}', options)
    if not osp.isfile(path):
        raise FileNotFoundError(f"The config '{path}' does not exist.")
    return _finish(_read_file(path), options)


def _read_file(path: str) -> Config:
    try:
        return Config.fromfile(path)
    # It is the user's code, which can raise anything, and so does MMEngine.
    except Exception as error:
        raise InputError(
            f"The config '{path}' cannot be read: "
            f'{type(error).__name__}: {error}'
        ) from error


def _merge(cfg: Config, options: dict, origin: str) -> None:
    try:
        cfg.merge_from_dict(options)
    except (TypeError, KeyError, IndexError, AssertionError) as error:
        raise InputError(
            f"{origin} cannot be merged into '{cfg.filename}': {error}"
        ) from error


def derive_domains(cfg: Config) -> None:
    """Write a config's ``source`` and ``target`` to where they are used.

    ``source``, a data set or a list of them, becomes
    ``train_dataloader.dataset.source``. ``target``, a data set, becomes
    ``train_dataloader.dataset.target`` without labels,
    ``test_dataloader.dataset`` with ``split='test'`` and, if it has
    ``val_identities``, ``val_dataloader.dataset`` with ``split='val'``;
    without them there is no validation. A target with ``labelled=False``, as
    a ``ReIDFolder`` is by default, has no labels: there is neither test nor
    validation. What is written there already counts over it, and a data set
    with a ``type`` there stays as it is. What is not at the top level of the
    config is not derived.

    Args:
        cfg (Config): Changed in place; both are taken out of it.

    Raises:
        InputError: If the target is not one data set.
    """
    domains = (cfg.get('train_dataloader') or {}).get('dataset')
    source = cfg.pop('source', None)
    if source and domains is not None:
        if isinstance(source, dict):
            _place(domains, 'source', source)
        else:
            domains.setdefault('source', source)
    if 'target' not in cfg:
        return
    target = cfg.pop('target')
    if target is not None and not (
        isinstance(target, dict) and isinstance(target.get('type'), str | type)
    ):
        raise InputError(
            f"'{cfg.filename}': target must be one data set, dict(type=...), "
            f'or None, got {target}.'
        )
    labelled = False
    if target:
        labelled = target.get('labelled', target['type'] != 'ReIDFolder')
        target = {
            key: value
            for key, value in target.items()
            if key not in ('split', 'labelled')
        }
        if domains is not None:
            _place(domains, 'target', target, labelled=False)
    for split in ('val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if not loader or 'type' in loader.get('dataset', {}):
            continue
        if labelled and (split == 'test' or target.get('val_identities')):
            _place(loader, 'dataset', target, split=split)
        else:
            if split == 'test':
                _keep_metric(cfg)
            for part in ('dataloader', 'evaluator', 'cfg'):
                cfg.pop(f'{split}_{part}', None)


def _keep_metric(cfg: Config) -> None:
    """Note the metric of a test that is left out: features have one."""
    evaluators = cfg.get('test_evaluator') or []
    if isinstance(evaluators, dict):
        evaluators = [evaluators]
    for evaluator in evaluators:
        if evaluator.get('metric'):
            cfg.retrieval_metric = evaluator['metric']


def _place(parent: dict, key: str, dataset: dict, **role: object) -> None:
    """Put a data set under a key, unless a whole one is there."""
    written = parent.get(key, {})
    if isinstance(written, dict):
        # Of a child that replaces what its base does not have.
        written.pop('_delete_', None)
        if 'type' not in written:
            parent[key] = copy.deepcopy({**dataset, **role, **written})


def _finish(cfg: Config, options: dict | None) -> Config:
    """Derive the domains; options on them come first, others after."""
    options = options or {}
    first = {
        key: value
        for key, value in options.items()
        if key.split('.')[0] in ('source', 'target')
    }
    _merge(cfg, first, '--cfg-options')
    derive_domains(cfg)
    rest = {k: v for k, v in options.items() if k not in first}
    _merge(cfg, rest, '--cfg-options')
    return cfg


@dataclass
class Row:
    """A main config and what is changed in it.

    Attributes:
        name (str): The main config's name and the row's: '<config>_<row>'.
        title (str): Where the paper has it, and what it is.
        config (str): Path of the main config.
        overrides (dict): Merged into it, as a config that inherits would be:
            ``_delete_=True`` replaces a dict, and the string
            ``'{{_base_.KEY}}'`` is what the main config has there.
        after (str, optional): A stage of the main config. Up to it the
            changes change nothing, so that its checkpoint serves the row.
            Defaults to None: the row shares no stage.
        base (str, optional): Path of another method's config, in which the
            changes are made in place of the main one. Its first stage starts
            from the checkpoint of ``after``. Defaults to None.
    """

    name: str
    title: str
    config: str
    overrides: dict
    after: str | None = None
    base: str | None = None

    @property
    def argument(self) -> str:
        """str: How :func:`read_config` and the tools take it."""
        stem = osp.splitext(osp.basename(self.config))[0]
        row = self.name[len(stem) + 1 :]
        return f'{self.config}:{row}' if row else self.config

    def load(self) -> Config:
        """What it changes, changed, its domains not yet derived."""
        cfg = _read_file(self.base or self.config)
        changes = {
            key: _resolve(part, cfg, self)
            for key, part in self.overrides.items()
        }
        _merge(cfg, changes, f"The row '{self.name}'")
        return Config(
            cfg.to_dict(),
            cfg_text=cfg.text,
            # Names the work dir, the log and the copy of the config there.
            filename=osp.join(osp.dirname(self.config), f'{self.name}.py'),
            env_variables=cfg.env_variables,
        )


def load_table(path: str) -> dict[str, Row]:
    """Read a table: a Python file with ``configs`` and ``rows``.

    ``configs`` lists the main configs, which lie beside it. ``rows`` names
    the rows; each is a dict with a ``title``, what is changed, by the top
    level keys of a config, and, where they apply, ``configs``, if it is not
    made for those of the table, and ``after``, the stage that it shares with
    the main config. ``_base_`` names, by main config, another method's config
    that goes on from there, and may be all that there is (:class:`Row`).

    Args:
        path (str): The file, ``table.py``.

    Returns:
        dict[str, Row]: The main configs, each followed by its rows, by name.

    Raises:
        FileNotFoundError: If the file, or a main config, does not exist.
        InputError: If the file lacks either, or a row is wrong.
    """
    if not osp.isfile(path) or osp.basename(path) != 'table.py':
        raise FileNotFoundError(
            f"'{path}' must be a file table.py beside the configs that it "
            'changes.'
        )
    content = runpy.run_path(path)
    for key, kind in (('configs', list), ('rows', dict)):
        if not isinstance(content.get(key), kind):
            raise InputError(
                f"The table '{path}' must have {key}, a {kind.__name__}."
            )
    rows = {
        name: {'configs': [*row.get('_base_', content['configs'])], **row}
        for name, row in content['rows'].items()
    }
    # In the order in which they are named first.
    mains = dict.fromkeys(
        main
        for configs in [
            content['configs'],
            *(row['configs'] for row in rows.values()),
        ]
        for main in configs
    )
    table = {}
    for main in mains:
        config = _named_config(path, osp.basename(main))
        stem = osp.splitext(osp.basename(main))[0]
        table[stem] = Row(stem, 'the main config', config, {})
        for name, row in rows.items():
            changes = {
                key: value
                for key, value in row.items()
                if key not in ('title', 'configs', 'after', '_base_')
            }
            if 'title' not in row or not (changes or '_base_' in row):
                raise InputError(
                    f"The row '{name}' of '{path}' must have a title, and "
                    'at least one key of the config that it changes.'
                )
            if main in row['configs']:
                name = f'{stem}_{name}'
                base = row.get('_base_', {}).get(main)
                table[name] = Row(
                    name,
                    row['title'],
                    config,
                    changes,
                    row.get('after'),
                    _named_config(path, base) if base else None,
                )
    return table


def _named_config(path: str, name: str) -> str:
    """A config that a table names, from where the table is."""
    config = osp.normpath(osp.join(osp.dirname(path), name))
    if not osp.isfile(config):
        raise FileNotFoundError(
            f"'{path}' names the config '{name}', which does not exist there."
        )
    return config


def load_row(path: str, name: str, options: dict | None = None) -> Config:
    """The config of one row.

    Args:
        path (str): The table, see :func:`load_table`.
        name (str): The row, '<config>_<row>'.
        options (dict, optional): See :func:`read_config`. Defaults to None.

    Returns:
        Config: The main config with the row's changes, its domains derived.

    Raises:
        FileNotFoundError: If the table does not exist.
        InputError: If it has no such row.
    """
    table = load_table(path)
    if name not in table:
        raise InputError(unknown_row(path, name, table))
    return _finish(table[name].load(), options)


def unknown_row(path: str, name: str, table: dict[str, Row]) -> str:
    """Say which rows there are in place of one that there is not."""
    near = difflib.get_close_matches(name, table) or list(table)
    return f"'{path}' has no row '{name}'; it has {', '.join(near)}."


def _resolve(value: object, main: Config, row: Row) -> object:
    """A copy of a part of the overrides, with what it refers to."""
    if isinstance(value, dict):
        return {key: _resolve(part, main, row) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_resolve(part, main, row) for part in value)
    match = isinstance(value, str) and REFERENCE.fullmatch(value)
    if not match:
        return value
    for key in match[1].split('.'):
        if key not in main:
            raise InputError(
                f"The row '{row.name}' refers to {match[1]}, which "
                f"'{row.base or row.config}' does not have."
            )
        main = main[key]
    return copy.deepcopy(main)

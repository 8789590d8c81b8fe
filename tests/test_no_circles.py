import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imported(path, package):
    """Names of the modules that a file imports, at its top or later."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = '.' * node.level + (node.module or '')
            module = resolve_name(module, package)
            # What is imported may be a module itself.
            yield from (f'{module}.{alias.name}' for alias in node.names)


def packages(root):
    """Which packages below ``mmreid`` each of them imports."""
    graph = defaultdict(set)
    for path in (root / 'mmreid').rglob('*.py'):
        parts = path.relative_to(root).with_suffix('').parts
        if parts == ('mmreid', '__init__'):
            continue
        for name in imported(path, '.'.join(parts[:-1])):
            top, *rest = name.split('.')
            if top == 'mmreid' and rest[0] != parts[1]:
                graph[parts[1]].add(rest[0])
    return graph


def test_packages_do_not_import_each_other_in_a_circle():
    graph = packages(ROOT)
    assert 'structures' in graph['evaluation']
    TopologicalSorter(graph).prepare()


def test_a_circle_is_found(tmp_path):
    for name, text in (
        ('one/a.py', 'from ..two import b'),
        ('two/b.py', 'def late():\n    import mmreid.three.c'),
        ('three/c.py', 'from mmreid import one'),
    ):
        file = tmp_path / 'mmreid' / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    with pytest.raises(CycleError):
        TopologicalSorter(packages(tmp_path)).prepare()

"""Tables of the tools, as text."""

from collections.abc import Mapping, Sequence


def print_table(
    columns: Mapping[str, str],
    rows: Sequence[Mapping],
    digits: Mapping[str, str] | None = None,
    number: str = '.1f',
) -> None:
    """Print rows below the titles of their columns, flush right.

    Args:
        columns (Mapping[str, str]): Key in a row -> title.
        rows (Sequence[Mapping]): A value for each key; None is a dash, a
            string stays as it is.
        digits (Mapping[str, str], optional): Format of some columns. Defaults
            to None.
        number (str): Format of the others. Defaults to '.1f'.

    Examples:
        >>> from mmreid.utils.tables import print_table
        >>> print_table(
        ...     dict(eps='eps', purity='purity %'),
        ...     [dict(eps=0.4, purity=88.5), dict(eps=0.5, purity=None)],
        ... )
           eps  purity %
           0.4      88.5
           0.5         -
    """
    print('  '.join(title.rjust(6) for title in columns.values()))
    for row in rows:
        cells = []
        for key, title in columns.items():
            value = row[key]
            if value is None:
                text = '-'
            elif isinstance(value, str):
                text = value
            else:
                text = f'{value:{(digits or {}).get(key, number)}}'
            cells.append(text.rjust(max(6, len(title))))
        print('  '.join(cells))

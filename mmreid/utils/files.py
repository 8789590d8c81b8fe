"""Files that a kill or a full disk leaves whole or not at all."""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def whole_file(path: str, mode: str = 'wb') -> Iterator[IO]:
    """Open a file that appears under its name only when all is written.

    What is written goes to ``<path>.<pid>.part`` beside it, then to the disk,
    then takes its name, in place of an older file. If anything fails, the
    part is removed and the older file stays.

    Args:
        path (str): Where the file is to be; its folder is made.
        mode (str): 'wb', or 'w' for UTF-8 text. Defaults to 'wb'.

    Yields:
        IO: The file to write to.

    Raises:
        OSError: If it cannot be written, with its name.
    """
    part = f'{path}.{os.getpid()}.part'
    encoding = None if 'b' in mode else 'utf-8'
    try:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        with open(part, mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(part)
        if isinstance(error, OSError):
            raise type(error)(
                error.errno,
                f'Cannot write ({error.strerror or error}); what was there '
                'before is still there',
                path,
            ) from error
        raise


def write_json(content: object, path: str) -> None:
    """Write a JSON file by :func:`whole_file`.

    Args:
        content (object): What JSON knows; of all else, its text.
        path (str): The file.

    Raises:
        OSError: If it cannot be written, with its name.
    """
    with whole_file(path, 'w') as file:
        json.dump(content, file, indent=2, default=str)

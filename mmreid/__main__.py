"""Run a tool from any folder: ``mmreid TOOL ...``, ``python -m mmreid``."""

import runpy
import sys
from pathlib import Path

from mmreid.utils.package_files import TOOLS


def main() -> None:
    """Run the tool that the command line names, with what follows it."""
    tools = {file.stem: file for file in sorted(Path(TOOLS).rglob('*.py'))}
    name = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if name not in tools:
        listed = 'usage: mmreid TOOL ...\ntools: ' + ', '.join(tools)
        if name in ('-h', '--help'):
            print(listed)
            return
        sys.exit(f"error: there is no tool '{name}'.\n{listed}")
    sys.argv = sys.argv[1:]
    runpy.run_path(str(tools[name]), run_name='__main__')


if __name__ == '__main__':
    main()

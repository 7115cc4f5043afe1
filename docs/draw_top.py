"""Draws docs/top.svg, the picture in the README: what `dataco top` shows after `make demo`.

Run it while the demo's servers are up:

    eval "$(.venv/bin/dataco stack env)"
    .venv/bin/python docs/draw_top.py
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMAND = ["dataco", "top", "--limit", "8"]
WIDTH = 110


def main() -> None:
    """Runs the command as on a terminal and writes its output as a picture."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
    program = str(Path(sys.executable).with_name(COMMAND[0]))
    shown = subprocess.run([program, *COMMAND[1:]], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123
    console.print(Text.from_ansi(shown.stdout))
    picture = console.export_svg(title=f"$ {' '.join(COMMAND)}")
    # Without the web fonts that rich names: a picture in a repository asks no other host for anything.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    Path(__file__).with_name("top.svg").write_text(re.sub(r"[ \t]+$", "", picture, flags=re.MULTILINE))


if __name__ == "__main__":
    main()

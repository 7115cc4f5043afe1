"""Runs one worker and writes what it found to a file."""

import json
import sys
from pathlib import Path

from benchmarks.workers import worker

name, arguments, answer = sys.argv[1:]
Path(answer).write_text(json.dumps(worker(name)(**json.loads(arguments))))

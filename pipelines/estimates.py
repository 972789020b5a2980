# What a stage takes, by its tool's own --dry-run --json.
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from functools import lru_cache

# Nothing is written there; a stage's real output may be there already, or its folder not yet.
NOWHERE = os.path.join(tempfile.gettempdir(), f"me2-planned-{os.getpid()}")


@lru_cache(maxsize=None)
def dry_run(command, folder):
    """The plan as the tool prints it; {} when it fails, which is said on stderr. Ask when the command's inputs are there."""
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    try:
        done = subprocess.run([*shlex.split(command), "--dry-run", "--json", "-q"], env=environment, capture_output=True, timeout=600)
        if done.returncode == 0:
            return json.loads(done.stdout)
        why = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"status {done.returncode}"]
    except (OSError, ValueError, subprocess.TimeoutExpired) as e:
        why = [str(e)]
    print(f"no estimate of {shlex.split(command)[:2]}: {why[0]}", file=sys.stderr)
    return {}


def memory_mb(plan, configured, attempt):
    """What the configuration says, else what the plan holds times 1.3 and 100 MB, else 2000; half more by attempt."""
    held = plan.get("memory_bytes", 0)
    known = math.ceil(held * 1.3 / 1e6) + 100 if held else 2000
    return int((configured or known) * (1 + 0.5 * (attempt - 1)))


def runtime_minutes(plan, configured, attempt):
    """What the configuration says, else three times the plan's estimate and 5 minutes, else an hour; as much again by attempt."""
    seconds = plan.get("seconds")
    known = 60 if seconds is None else math.ceil(seconds * 3 / 60) + 5
    return int(configured or known) * attempt

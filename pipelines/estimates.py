# What a stage takes, by its tool's own --dry-run --json.
import json
import os
import shlex
import subprocess
from functools import lru_cache


@lru_cache(maxsize=None)
def dry_run(command, folder, there):
    """The plan as the tool prints it, {} when it fails. `there`: which inputs exist, so that a plan is asked for again once they do."""
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    try:
        done = subprocess.run([*shlex.split(command), "--dry-run", "--json", "-q"], env=environment, capture_output=True, timeout=120)
        return json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {}


def memory_mb(plan, configured, attempt):
    """Weights and batches that the plan names times 1.2, and 700 MB for libraries; at least what is configured (2000 where neither says)."""
    held = plan.get("memory_bytes", 0)
    known = int(held * 1.2 / 1e6) + 700 if held else 0
    return int((max(known, configured or 0) or 2000) * (1 + 0.5 * (attempt - 1)))


def runtime_minutes(plan, configured, attempt):
    """Twice the plan's estimate, or what is configured where the tool gives none."""
    seconds = plan.get("seconds")
    return int(max(2, seconds * 2 / 60) if seconds else configured) * attempt

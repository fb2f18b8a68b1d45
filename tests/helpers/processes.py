"""Real processes for tests."""

import os
import subprocess
import sys
import textwrap


def run_python(code, folder, ranks=None):
    """Run code in a fresh interpreter in `folder`; with a number of ranks, under torchrun."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code))
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command = [sys.executable, *(launcher if ranks else []), str(script)]
    return run(command, folder)


def run(command, folder, **environment):
    """Run a command to its end; a failure shows what it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout

"""Starts worker.py, as one process or as the ranks of a run."""

import json
import os
import socket
import subprocess
import sys
from typing import Any

from glagcn.bench.setting import Setting
from glagcn.config.config import Config
from glagcn.config.resolve import to_dict
from glagcn.distributed import launcher
from glagcn.errors import UserError

TIMEOUT_S = 600


def run_worker(job: str, setting: Setting, config: Config, processes: int = 1, **given: Any) -> list[dict[str, Any]]:
    """Run worker.py.  Returns the results of all ranks, in rank order.

    config  replaces that of the setting.
    given   further arguments of the job; "cache", a path, replaces the cache of the setting.
    Raises UserError with the last output lines of the first failed process.
    """
    given = {"cache": str(setting.data.cache.path), "config": to_dict(config), "repeats": setting.repeats} | given
    command = [sys.executable, "-m", "glagcn.bench.launched.worker", job, json.dumps(given)]
    port = _free_port()
    started = []
    for rank in range(processes):
        environment = {name: value for name, value in os.environ.items() if name not in launcher.VARIABLES}
        if processes > 1:
            values = (rank, rank, processes, processes, "127.0.0.1", port)
            environment |= dict(zip(launcher.VARIABLES, map(str, values), strict=True))
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        )
    answers = []
    try:
        for process in started:
            out, errors = process.communicate(timeout=TIMEOUT_S)
            if process.returncode:
                raise UserError(f"a process of the bench failed ({job}):\n" + "\n".join(errors.splitlines()[-5:]))
            answers.append(json.loads(out.splitlines()[-1]))
    except subprocess.TimeoutExpired as error:
        raise UserError(f"a process of the bench took more than {TIMEOUT_S} s ({job})") from error
    finally:
        for process in started:
            process.kill()
            process.wait()
    return answers


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

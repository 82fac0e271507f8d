"""A command of the table "published | here" of docs/training.md on two processes, on files in the real layouts.

tests/commands/test_h36m_humaneva.py runs the others in one process.
"""

import json
import re
import shlex

import pytest

from tests.launched.conftest import REPOSITORY, launch, trainer
from tests.published_files import write_folder

TEXT = (REPOSITORY / "docs/training.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\| .* \| `python main_sagcn_gpus\.py (.*)` \|$", TEXT, re.MULTILINE)


@pytest.mark.launched
def test_evaluating_on_two_processes_scores_every_action_and_subject(tmp_path):
    assert len(COMMANDS) == 8
    command = next(line for line in COMMANDS if "--by-subject" in line)
    flags = shlex.split(f"{command} --output results --workers 1")
    ended = launch([*trainer(2), *flags], write_folder(tmp_path))
    assert ended.code == 0, ended.err
    result = json.loads((tmp_path / "results/result.json").read_text())
    assert result["processes"] == 2
    assert set(result["actions"]) == {"Walking", "Jog", "Box"}
    assert "mean over actions" in ended.out
    assert "Validate/S3 " in ended.out

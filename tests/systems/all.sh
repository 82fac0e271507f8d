#!/usr/bin/env bash
# The tests of lifting, drawing and writing where Linux looks like Windows and like macOS, and the commands on both.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
failed=0
# Windows has no such names, and folders that cannot be flushed.
linux=(--deselect tests/poses/test_video.py::test_odd_names_and_tags_do_not_matter
    --deselect tests/test_files.py::test_the_file_and_its_name_are_flushed_before_the_end)
for system in macos windows; do
    EMULATED_SYSTEM=$system PYTHONPATH=tests/systems:. python -m pytest --numprocesses 2 "${linux[@]}" tests/poses \
        tests/test_files.py tests/commands/test_lift.py tests/commands/test_lift_video.py tests/commands/test_live_command.py \
        tests/commands/test_render.py tests/checkpoints || failed=1
done
SYSTEMS="windows macos" python -m pytest tests/systems || failed=1
exit "$failed"

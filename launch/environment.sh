# Sourced by demo.sh and test.sh, in the repository: makes or reuses .venv, installs the pinned set, activates it.
# A start with requirements that are installed already, alone or before others, installs nothing.
#
#   environment requirements.txt [more.txt]
#
# On a machine without a GPU, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu spares gigabytes of CUDA.

environment() {
    local python=${PYTHON:-python3} files=() stamps=() file stamp
    for file in "$@"; do
        files+=("launch/$file")
        stamp=$(cat "${files[@]}" setup.cfg pyproject.toml | sha256sum | cut -d ' ' -f 1)
        stamps+=("$stamp")
    done
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "error: $python is missing or older than 3.11; install Python 3.11 or newer, or set PYTHON=/path/to/it" >&2
        return 1
    fi
    if ! grep -qx "$stamp" .venv/installed 2>/dev/null; then
        echo "Installing the pinned requirements into .venv (the first time takes minutes)"
        if [ ! -x .venv/bin/pip ]; then
            "$python" -m venv --clear .venv || {
                echo "error: cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv python3-pip" >&2
                return 1
            }
        fi
        # Python compiles what is imported; compiling all ten thousand files would take longer than installing them.
        .venv/bin/pip install --no-compile --disable-pip-version-check "${files[@]/#/--requirement=}"
        .venv/bin/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
        printf '%s\n' "${stamps[@]}" >> .venv/installed
    fi
    # shellcheck disable=SC1091
    source .venv/bin/activate
}

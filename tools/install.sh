#!/bin/sh
# Make a virtual environment and install edgecut with its development tools into it.
# Usage: PYTHON=python3.12 tools/install.sh .venv       (PYTHON may be empty: the first that is new enough)
# What the machine lacks is said in the first line of the output.
set -eu
venv=$1

candidates=${PYTHON:-python3 python3.13 python3.12 python3.11}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
makes_environments() { "$1" -c 'import venv, ensurepip' 2>/dev/null; }

python= bare=
for candidate in $candidates; do
    new_enough "$candidate" || continue
    if makes_environments "$candidate"; then
        python=$candidate
        break
    fi
    bare=${bare:-$candidate}
done
if [ -z "$python" ] && [ -n "$bare" ]; then
    echo "$bare cannot make virtual environments: apt-get install python3-venv" >&2
    exit 1
fi
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is missing (tried $candidates): apt-get install python3 python3-venv" >&2
    exit 1
fi
if ! command -v cc >/dev/null && ! command -v gcc >/dev/null; then
    echo "There is no C compiler: apt-get install gcc (going on; a package without a ready build will need it)" >&2
fi

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1 || ! new_enough "$venv/bin/python"; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
echo "Installing edgecut into $venv; the solver and the runtime are some 300 MB, this can take a few minutes."
"$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --editable '.[dev]'

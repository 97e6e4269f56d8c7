# Sourced by join and test: makes .venv with the pinned packages, once, and finds out quickly that nothing is to be done.
# It knows nothing of what is started afterwards.
#
#   set_up node   what a node needs        set_up test   that, and what the tests need
#
# .venv/set-up.done holds what was installed (see `wanted`); .venv/set-up.unfinished exists while an installation runs,
# so that one that was killed half-way is noticed and made again. Works from any folder; changes only .venv.

root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)
venv=$root/.venv

say() { printf '%s\n' "$*" >&2; }

# What .venv should hold: these versions, linked to this folder.
wanted() { printf '%s %s' "$(cat -- "$root/pyproject.toml" "$root/constraints.txt" | cksum)" "$root"; }

in_place() {
    local have
    [ -x "$venv/bin/python" ] && [ -x "$venv/bin/autoresearch-node" ] && [ -r "$venv/set-up.done" ] || return 1
    have=$(<"$venv/set-up.done")
    [ "$have" = "test $(wanted)" ] || [ "$have" = "$1 $(wanted)" ]
}

find_python() {
    local candidate incomplete=
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            python=$candidate
            return
        fi
        incomplete=${incomplete:-$candidate}
    done
    if [ -n "$incomplete" ]; then
        say "$incomplete is here, but not the part of it that makes environments (venv, ensurepip)."
        say "Install it and run this again; on Debian and Ubuntu: apt install python3-venv"
    else
        say "No Python 3.11 or newer was found on the PATH (looked for python3.13, python3.12, python3.11, python3)."
        say "Install one and run this again; on Debian 12 or Ubuntu 24.04: apt install python3 python3-venv"
    fi
    return 1
}

pip_install() {
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input -c "$root/constraints.txt" "$@"
}

# An installation that pip gave up is gone on with the next time; one that was killed is made again.
given_up() {
    [ "$1" -gt 128 ] || rm -f -- "$venv/set-up.unfinished"
    shift
    say "$@"
    return 1
}

install() {
    local target=$root
    [ "$1" = test ] && target="${root}[test]"
    if [ -e "$venv/set-up.unfinished" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        [ ! -e "$venv" ] || say "an earlier set-up did not finish; starting it again"
        find_python || return
        say "setting up in .venv (once; a few minutes, torch is the big part) ..."
        rm -rf -- "$venv" && mkdir -- "$venv" && : >"$venv/set-up.unfinished" || return
        "$python" -m venv -- "$venv" || return
    else
        say "bringing .venv up to date ..."
        : >"$venv/set-up.unfinished" || return
    fi
    # First and alone, as it is the one package compiled here: where that cannot work, it fails before the big download.
    pip_install fastecdsa || given_up $? "pip could not install fastecdsa, a part of libp2p; its message is above. Without" \
        "a network: connect and run this again. If it could not be compiled: apt install gcc libgmp-dev python3-dev" \
        "(or what your system calls them)." || return
    pip_install -e "$target" || given_up $? "The set-up failed; pip's message is above. Run this again to go on." || return
    printf '%s %s\n' "$1" "$(wanted)" >"$venv/set-up.done"
    rm -f -- "$venv/set-up.unfinished"
}

set_up() {
    in_place "$1" && return
    if command -v flock >/dev/null; then
        exec {lock}<"$root/constraints.txt"
        flock -n "$lock" || { say "another set-up is running here; waiting for it ..." && flock "$lock"; }
    fi
    trap 'say "interrupted; the next start sets up again"; exit 130' INT TERM # pip would end it with status 1
    in_place "$1" || install "$1" || exit 1
    trap - INT TERM
    if [ -n "${lock:-}" ]; then exec {lock}<&-; fi
}

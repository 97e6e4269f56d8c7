# Sourced by join, test and the Dockerfile: makes .venv with the pinned packages, once, and finds out quickly that nothing
# is to be done. It knows nothing of what is started afterwards.
#
#   set_up node   what a node needs        set_up test   that, and what the tests need
#
# Packages are installed by hash: each file is one that scripts/pinned/*.txt lists (see scripts/pins.py), or the set-up
# says which differs, and stops. ACCEPT_UNLISTED="torch numpy" takes these by version alone, as they come.
#
# .venv/set-up.done holds what was installed (see `wanted`); .venv/set-up.unfinished exists while an installation runs,
# so that one that was killed half-way is noticed and made again; .venv/set-up.log has pip's output. Works from any
# folder; changes only .venv, and puts one that it can neither use nor remove aside, as .venv.unusable-N.

root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)
venv=$root/.venv
lists=$root/scripts/pinned
log=$venv/set-up.log

say() { printf '%s\n' "$*" >&2; }

# What .venv should hold: these versions, linked to this folder.
wanted() { printf '%s %s' "$(cat -- "$root/pyproject.toml" "$root/constraints.txt" "$lists"/*.txt | cksum)" "$root"; }

in_place() {
    local have
    [ -x "$venv/bin/python" ] && [ -x "$venv/bin/autoresearch-node" ] && [ -r "$venv/set-up.done" ] || return 1
    have=$(<"$venv/set-up.done")
    [ "$have" = "test $(wanted)" ] || [ "$have" = "$1 $(wanted)" ]
}

# Looks for a Python; with an argument such as 3.12, for that one only, and says nothing where it is not there.
find_python() {
    local candidate incomplete=
    for candidate in ${1:+"python$1"} python3.13 python3.12 python3.11 python3 python; do
        "$candidate" -c "import sys; sys.exit(sys.version_info < (3, 11) or '${1:-any}' not in ('any', '%d.%d' % sys.version_info[:2]))" \
            2>/dev/null || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            python=$candidate
            return
        fi
        incomplete=${incomplete:-$candidate}
    done
    if [ $# = 0 ] && [ -n "$incomplete" ]; then
        say "$incomplete is here, but not the part of it that makes environments (venv, ensurepip)."
        say "Install it and run this again; on Debian and Ubuntu: apt install python3-venv"
    elif [ $# = 0 ]; then
        say "No Python 3.11 or newer was found on the PATH (looked for python3.13, python3.12, python3.11, python3)."
        say "Install one and run this again; on Debian 12 or Ubuntu 24.04: apt install python3 python3-venv"
    fi
    return 1
}

pip_run() { "$venv/bin/python" -m pip "$@" --disable-pip-version-check --no-input --progress-bar off >>"$log" 2>&1; }
pip_install() { pip_run install "$@"; }

# The packages of a list by its hashes, and nothing else: a list has all that its packages need. More arguments go to pip.
install_list() {
    local list=$lists/$1.txt name version
    shift
    if [ -n "${ACCEPT_UNLISTED:-}" ]; then
        awk -v accepted=" $ACCEPT_UNLISTED " '/^[a-z0-9]/ { split($0, pin, /==/); skip = index(accepted, " " pin[1] " ") } !skip' \
            "$list" >"$venv/set-up.list" || return
        for name in $ACCEPT_UNLISTED; do
            version=$(awk -F'==| ' -v name="$name" '$1 == name { print $2 }' "$list")
            [ -z "$version" ] || pip_install -c "$root/constraints.txt" "$@" "$name==$version" || return
        done
        list=$venv/set-up.list
    fi
    pip_install --no-deps --require-hashes "$@" -r "$list"
}

# Of torch there are several builds, and which pip takes is for its settings to say (an index or folder of one's own comes
# first there). Asked for a file by hash, it would take the usual index's instead. So it is fetched first, then checked.
install_torch() {
    local files=$venv/set-up.files pin
    pin=$(grep -o '^torch==[^ ]*' "$lists/torch.txt")
    case " ${ACCEPT_UNLISTED:-} " in *" torch "*) pip_install -c "$root/constraints.txt" "$pin" && return || return ;; esac
    if ! python_finds "version('torch').split('+')[0] == '${pin#*==}'"; then
        rm -rf -- "$files"
        pip_run download --no-deps --dest "$files" "$pin" &&
            pip_install --no-deps --require-hashes --no-index --find-links "$files" -r "$lists/torch.txt" || return
        rm -rf -- "$files"
    fi
    ! python_finds "any(need.startswith(('nvidia-', 'cuda-', 'triton')) for need in requires('torch') or ())" ||
        install_list accelerator
}

# Whether something holds of the packages that are installed, said in Python with importlib.metadata.
python_finds() { "$venv/bin/python" -c "
from importlib.metadata import *
raise SystemExit(not ($1))" 2>/dev/null; }

# What of pip's output tells why it failed, in few lines: which package differs, or else the last errors that say something.
why() {
    local differs
    differs=$(awk '/^    [^ ]+==.* from / { split($1, pin, /==/) }
        /^ +Got  +[0-9a-f]+$/ { print pin[1], pin[2], $2 }' "$log" 2>/dev/null | tail -n 1)
    if [ -n "$differs" ]; then
        read -r -a differs <<<"$differs"
        say "${differs[0]} ${differs[1]}, as it is served here, is none of the files that scripts/pinned lists: its sha256 is"
        say "${differs[2]}. It was not installed."
        say "An index or mirror with builds of its own has others. If you know where it comes from and trust it, run this again"
        say "with ACCEPT_UNLISTED=${differs[0]} before the command."
        return
    fi
    grep -iE 'error:|error -|Retrying \(' "$log" 2>/dev/null | grep -vE 'subprocess-exited|Failed building|Could not build|ould not find a version' |
        sed -e 's/^ *//' -e "s/^WARNING: Retrying .*: \[Errno [-0-9]*\] \([^']*\)'.*/no connection to the package index: \1/" |
        cut -c 1-300 | awk '!seen[$0]++' | tail -n 4 >&2
}

# An installation that pip gave up is gone on with the next time; one that was killed is made again.
given_up() {
    [ "$1" -gt 128 ] || rm -f -- "$venv/set-up.unfinished"
    shift
    why
    say "$* Run this again to go on. All that pip said is in .venv/set-up.log."
    return 1
}

# Takes .venv away: removed where it is this user's, else put aside as it is.
discard() {
    local aside number=1
    [ -O "$venv" ] && rm -rf -- "$venv" 2>/dev/null && return
    while aside=$venv.unusable-$number && [ -e "$aside" ]; do number=$((number + 1)); done
    if mv -- "$venv" "$aside" 2>/dev/null; then
        say "it cannot be removed by this user, and stays as ${aside##*/}"
    else
        say ".venv is not this user's, and can be neither used, removed nor renamed: sudo mv $venv $aside"
        return 1
    fi
}

# Leaves a .venv whose Python runs, or returns 1. Packages stay where only the link to the Python they are for is broken.
environment() {
    local found
    if [ ! -e "$venv/set-up.unfinished" ]; then
        "$venv/bin/python" -m pip --version >/dev/null 2>&1 && say "bringing .venv up to date ..." && return
        found=$(compgen -G "$venv/lib/python3.*")
        if [ -O "$venv" ] && find_python "${found##*/python}" && rm -f -- "$venv"/bin/python* &&
            "$python" -m venv -- "$venv" 2>/dev/null && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
            say "the Python that .venv was made with does not run here; .venv has another now, and keeps its packages"
            say "bringing .venv up to date ..."
            return
        fi
        [ ! -e "$venv" ] || say ".venv has no Python that runs here; making it anew"
    else
        say "an earlier set-up did not finish; starting it again"
    fi
    find_python || return
    [ ! -e "$venv" ] || discard || return
    say "setting up in .venv (once; a few minutes, torch is the big part) ..."
    mkdir -- "$venv" && : >"$venv/set-up.unfinished" && "$python" -m venv -- "$venv" || return
    [ -x "$venv/bin/pip" ] || ! [ -e "$venv/bin/pip" ] || {
        say "programs cannot be run from $root: its file system is mounted with noexec. Put the folder elsewhere."
        return 1
    }
}

install() {
    environment || return
    : >"$venv/set-up.unfinished" && : >"$log" || return
    install_list build || given_up $? "The set-up failed." || return
    # Before the rest, as it is compiled here: where that cannot work, it fails before the big download.
    install_list compiled --no-build-isolation || given_up $? \
        "pip could not install fastecdsa, a part of libp2p. Without a network: connect. If it could not be compiled:" \
        "apt install gcc libgmp-dev python3-dev (or what your system calls them)." || return
    install_list node && install_torch && { [ "$1" = node ] || install_list test; } &&
        pip_install --no-deps --no-build-isolation -e "$root" || given_up $? "The set-up failed." || return
    printf '%s %s\n' "$1" "$(wanted)" >"$venv/set-up.done"
    rm -f -- "$venv/set-up.unfinished" "$venv/set-up.list"
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

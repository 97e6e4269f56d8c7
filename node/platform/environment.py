"""The one door to the environment: what of it this program reads, and what the programs that it starts get of it.

The environment belongs to whoever started this program: a shell, a hook of git, a scheduler. It holds keys that are
nobody's business, and variables by which programs are turned to other files, other servers and other settings. So a
program that this one starts gets what is named here and at its start, and nothing else. No other module of `node`
reads `os.environ`, and none starts a program without saying what environment it gets; a test holds both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

FOR_EVERY_PROGRAM = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ")
"""What a program needs to find itself, its files and the time."""
TEXT = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
"""What it prints is read by this program: in English, as UTF-8."""
OF_THE_DESKTOP = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
OF_THE_SESSION = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""Where a person's service manager and message bus are."""
NO_SETTINGS_OF_OTHERS = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TEMPLATE_DIR": "",
    "GIT_TERMINAL_PROMPT": "0",
}
"""Line endings, filters, hooks, templates and the like that a person or a machine has set for all repositories."""


def variable(name: str, default: str = "") -> str:
    """The value of one variable of this program's environment; a variable that is empty counts as not set."""
    return os.environ.get(name) or default


def variables(wanted: Iterable[str] | Callable[[str], bool]) -> dict[str, str]:
    """Those variables that are named, or that a function of the name says yes to, as far as they are set."""
    if callable(wanted):
        return {name: value for name, value in os.environ.items() if wanted(name)}
    return {name: os.environ[name] for name in wanted if name in os.environ}


def child_environment(*more: str, **values: str) -> dict[str, str]:
    """What a program gets that this one starts. more: names of further variables, as they are here. values: others."""
    return {**variables(FOR_EVERY_PROGRAM), **variables(more), **TEXT, **values}


def git_environment(**values: str) -> dict[str, str]:
    """What git gets: no variable that points it at another repository, and no settings but the repository's own."""
    return child_environment(**NO_SETTINGS_OF_OTHERS, **values)


def persons_environment() -> dict[str, str]:
    """Everything that a person's own shell has: for the command that a person asks for, by hand, as it is shown."""
    return dict(os.environ)


def forget_what_libraries_read() -> None:
    """Drop the variables that libraries read by themselves, past every setting of this program, and an empty HOME.

    Those by which a shell or a hook points git at a repository of its own, GIT_DIR, GIT_INDEX_FILE and so on: GitPython
    hands them to git, which would write to the other repository. And the OpenAI client's, which add headers of one
    service to questions for any other. GitPython is to be importable also where there is no git: whoever needs it says
    so in a sentence. Keys stay: they are read by the name that the settings give, and by no library.
    """
    for name in list(os.environ):
        if name.startswith("GIT_") or (name.startswith("OPENAI_") and not name.endswith("_API_KEY")):
            del os.environ[name]
    os.environ["GIT_PYTHON_REFRESH"] = "quiet"
    if not os.environ.get("HOME", "none"):  # "~" would be the root folder; without it the system is asked
        del os.environ["HOME"]


def no_telemetry() -> None:
    """Keep tools for tracking experiments from reporting that they are used, and from chatting about their files."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}

"""Where the program begins, as `autoresearch-node` and as `python -m node`.

It imports nothing of the program before a Ctrl-C is provided for: reading its modules takes a second, or several on a
busy machine.
"""

import signal


def main() -> None:
    """The program. While its modules are read, and when all is done, Ctrl-C ends it at once, without a traceback."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from node.cli.main import main as command_line

    signal.signal(signal.SIGINT, usual)
    try:
        command_line()
    finally:
        if usual is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()

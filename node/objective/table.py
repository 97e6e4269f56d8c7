"""Reading a table of objective.toml: each value checked once for its type and range, with an error that names it.

It knows what kinds of values there are, and not which an objective has.
"""

from __future__ import annotations

from typing import Any

from node.objective.schema import SETTINGS, ObjectiveError
from protocol.fields import is_plain
from protocol.objective import safe_path

MAX_TEXT = 500  # characters of one text
MAX_ROWS = 100  # of one list or table
MAX_WHOLE = 2**63 - 1  # what a manifest, a record and a machine's counter hold
MOST_WEIGHTS_MB = 1024  # of one model; a run writes them at every checkpoint, and those of 16 runs are kept


class Table:
    """A table of objective.toml and the checks of its fields. Every method raises ObjectiveError naming the field."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise ObjectiveError(f"{SETTINGS}: [{where}] is missing or no table")
        self.values, self.where = values, where

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def called(self, name: str) -> str:
        """How an error calls a setting."""
        return f"{self.where}.{name}" if self.where else name

    def _get(self, name: str, kind: type | tuple[type, ...], expected: str) -> Any:
        value = self.values.get(name)
        if value is None:
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} is missing; it must be {expected}")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be {expected}, not {shown(value):.80}")
        return value

    def text(self, name: str) -> str:
        value = str(self._get(name, str, "text"))
        if not is_plain(value) or len(value) > MAX_TEXT:
            raise ObjectiveError(f"{SETTINGS}: {name} must be at most {MAX_TEXT} characters of plain text")
        return value

    def passage(self, name: str) -> str:
        """Text that may have several lines, such as a piece of code."""
        value = str(self._get(name, str, "text"))
        if not all(is_plain(line.replace("\t", " ")) for line in value.split("\n")) or len(value) > MAX_TEXT:
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be at most {MAX_TEXT} characters of plain text")
        return value

    def choice(self, name: str, *known: str) -> str:
        value = self.text(name)
        if value not in known:
            quoted = " or ".join(f'"{each}"' for each in known)
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be {quoted}, not {value!r:.80}")
        return value

    def path(self, name: str) -> str:
        value = self.text(name)
        if not safe_path(value):
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be the path of a file in it, not {value!r:.80}")
        return value

    def paths(self, name: str) -> tuple[str, ...]:
        """One path, or a list of different ones."""
        values = self.values.get(name)
        values = [values] if isinstance(values, str) else values
        if (
            not isinstance(values, list)
            or not 1 <= len(values) <= MAX_ROWS
            or len({*map(shown, values)}) != len(values)
        ):
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be text or a list of different paths")
        return tuple(Table({name: value}, self.where).path(name) for value in values)

    def whole(self, name: str) -> int:
        value = self._get(name, int, "a whole number above 0")
        if value <= 0:
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be above 0, not {value}")
        if value > MAX_WHOLE:  # and it is not shown: in hexadecimal, TOML takes a number of any length
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be at most {MAX_WHOLE}")
        return int(value)

    def weights(self, name: str) -> int:
        value = self.whole(name)
        if value > MOST_WEIGHTS_MB:
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be at most {MOST_WEIGHTS_MB}, not {value}")
        return value

    def number(self, name: str) -> float:
        value = self._get(name, (int, float), "a number")
        if not abs(value) <= MAX_WHOLE:  # TOML has inf and nan too, and whole numbers that no float holds
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be a number below {MAX_WHOLE}")
        return float(value)

    def positive(self, name: str) -> float:
        value = self.number(name)
        if value <= 0:
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be above 0, not {value:g}")
        return value

    def flag(self, name: str) -> bool:
        value = self.values.get(name)
        if not isinstance(value, bool):
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be true or false, not {shown(value):.80}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._get(name, list, "a list of texts")
        if not all(isinstance(value, str) for value in values):
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be a list of texts")
        if len(values) > MAX_ROWS:
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be a list of at most {MAX_ROWS} texts")
        return tuple(values)

    def wholes(self, name: str) -> tuple[int, ...]:
        values = self._get(name, list, "a list of whole numbers")
        if not all(isinstance(value, int) and value > 0 for value in values):
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be a list of whole numbers above 0")
        return tuple(values)

    def table(self, name: str) -> Table:
        """A table below this one."""
        return Table(self.values.get(name), self.called(name))

    def rows(self, name: str) -> list[Table]:
        """The tables of a list; none where there is no such list."""
        rows = self.values.get(name, [])
        if not isinstance(rows, list) or len(rows) > MAX_ROWS or not all(isinstance(row, dict) for row in rows):
            raise ObjectiveError(f"{SETTINGS}: {self.called(name)} must be at most {MAX_ROWS} [[{self.called(name)}]]")
        return [Table(row, self.called(name)) for row in rows]


def shown(value: object) -> str:
    """A value as an error shows it."""
    try:
        return repr(value)
    except ValueError:  # a hexadecimal number of more digits than Python writes in decimal
        return "so long a number"
    except RecursionError:  # dotted keys make tables in each other without end
        return "tables in each other"

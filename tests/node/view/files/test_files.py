"""Taking results home: a report, an export and a plot of a real ledger, with text of strangers in it."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from node.cli.main import main
from node.view.files import plot
from protocol.records import ChainStep, Effect, Hypothesis
from tests.node.records_for_tests import experiment, replication, source
from tests.node.view.conftest import HOSTILE, Swarm

SVG = "{http://www.w3.org/2000/svg}"


def run(home: Path, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--home", str(home)])
    assert not ended.value.code


def complaint(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--home", str(home)])
    assert ended.value.code == 2
    return capsys.readouterr().err


class Tags(HTMLParser):
    """Every element of a page, and what it links to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.links += [str(value) for name, value in attributes if name in ("src", "href") or name.startswith("on")]


def test_the_html_report_is_one_file_that_needs_nothing_else(swarm: Swarm, tmp_path: Path) -> None:
    run(swarm.home, "report", str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    assert "+18.1 % ± 0.8 (2 pairs)" in page  # claimed
    assert "+17.3 % ± 0.8 (2 pairs) by 1, not checked" in page  # found by others
    for heading in ("What was tried", "confirmed", "refuted", "open", "To see it again"):
        assert heading in page
    for command in ("show", "reproduce"):
        assert f"autoresearch-node {command} {swarm.authors['alice'].records[0].id.hex()[:10]}" in page
    assert Tags(page).links == []


def test_strangers_text_is_escaped_in_the_html_report(swarm: Swarm, tmp_path: Path) -> None:
    run(swarm.home, "report", str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    assert "&lt;script&gt;window.taken=1&lt;/script&gt;" in page
    assert not Tags(page).names & {"script", "img", "iframe", "object"}


def test_strangers_text_is_escaped_in_the_markdown_report(swarm: Swarm, tmp_path: Path) -> None:
    swarm.write("bob", experiment("[click](javascript:x) | `code` ![i](http://e.example)", child=swarm.child))
    run(swarm.home, "report", str(tmp_path / "my report.md"))
    text = (tmp_path / "my report.md").read_text()
    assert r"\[click\](javascript:x) \| \`code\` \!\[i\](http://e.example)" in text
    outside_code = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    assert not re.search(r"(?<!\\)<", outside_code)
    pictures = re.findall(r"(?<!\\)!\[.*?\]\((.*?)\)", outside_code)
    assert pictures[0] == "my%20report-1.svg"
    assert all((tmp_path / picture.replace("%20", " ")).exists() for picture in pictures)


def test_the_plot_shows_every_experiment_and_the_staircase(swarm: Swarm, tmp_path: Path) -> None:
    swarm.write("alice", experiment("Worse", decision="no_gain", effect=Effect(0.01, 0.01, 1)))
    run(swarm.home, "plot", str(tmp_path / "plot.svg"), "--everybody")
    drawing = ElementTree.parse(tmp_path / "plot.svg").getroot()
    assert len(drawing.findall(f"{SVG}circle")) == 3  # an adoption of which nothing was measured has no dot
    assert any(HOSTILE in (title.text or "") for title in drawing.iter(f"{SVG}title"))
    drawn = {element.tag.removeprefix(SVG) for element in drawing.iter()}
    assert drawn <= {"svg", "text", "path", "circle", "title"}


def test_what_was_adopted_by_a_trial_of_ones_own_is_shown_with_what_it_came_to(swarm: Swarm, tmp_path: Path) -> None:
    """Such a record has what the trial found, and no runs of the claim: it is no report."""
    claim, bob = swarm.authors["alice"].records[0], swarm.authors["bob"].identity
    report = replication(claim, "unclear", effect=None, adopted=source("merged"), by=bob)
    swarm.write(
        "bob",
        replace(report, base=claim.body.parent, route="merge", pairs=(), proof=UNSET, adoption=Effect(-0.3, 0.01, 2)),
    )
    for name in ("plot.svg", "report.md", "report.html", "site"):
        command = "publish" if name == "site" else name.partition(".")[0]
        run(swarm.home, command, str(tmp_path / name), *(["--everybody"] if command == "plot" else []))
    drawing = ElementTree.parse(tmp_path / "plot.svg").getroot()
    told = [title.text for title in drawing.iter(f"{SVG}title") if "adopted from a peer" in (title.text or "")]
    assert told == ["adopted from a peer: 2.5929"]


def test_the_staircase_goes_through_its_dots_and_begins_at_the_baseline(swarm: Swarm, tmp_path: Path) -> None:
    swarm.write("alice", experiment("Another text", parent=swarm.child, effect=Effect(-0.1, 0.01, 1)))
    run(swarm.home, "plot", str(tmp_path / "plot.svg"))
    drawing = ElementTree.parse(tmp_path / "plot.svg").getroot()
    dots = [(dot.get("cx"), dot.get("cy")) for dot in drawing.findall(f"{SVG}circle") if dot.get("r") == "4.5"]
    path = next(one.get("d", "") for one in drawing.iter(f"{SVG}path") if one.get("stroke-width") == "2")
    corners = re.findall(r"H([\d.]+)V([\d.]+)", path)
    assert corners == dots
    assert len(dots) == 2
    assert any("baseline 3.5000" in (text.text or "") for text in drawing.iter(f"{SVG}text"))


def test_the_names_of_steps_lie_over_no_dot(swarm: Swarm, tmp_path: Path) -> None:
    """The picture has their numbers, on the side of the staircase where no dot is; the names are below it."""
    bets = []
    for number in range(4):
        parent = source(f"child {number - 1}") if number else swarm.child
        bets.append(swarm.write("alice", experiment(f"Step {number}", parent, source(f"child {number}"))))
    chain = tuple(ChainStep(bet.id, "initialisation", -0.2) for bet in bets)
    swarm.write("alice", replace(experiment("All four", swarm.child, source("child 3")), steps=chain))
    run(swarm.home, "plot", str(tmp_path / "plot.svg"))
    drawing = ElementTree.parse(tmp_path / "plot.svg").getroot()
    dots = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in drawing.findall(f"{SVG}circle")]
    assert len(dots) == 6  # the chain's is the ring at the last experiment
    assert dots[-1][0] == dots[-2][0]
    words = {
        text.text or "": (float(text.get("x", "")), float(text.get("y", ""))) for text in drawing.iter(f"{SVG}text")
    }
    bottom = max(y for _, y in dots)
    assert all(y > bottom for name, (_, y) in words.items() if name.startswith("Step"))
    numbers = [
        (float(text.get("x", "")), float(text.get("y", "")))
        for text in drawing.iter(f"{SVG}text")
        if (text.text or "").isdigit() and text.get("fill") == plot.BLUE and text.get("text-anchor") == "end"
    ]
    assert len(numbers) == 5
    for x, y in numbers:
        assert not any(x - 8 < across < x and y - 9 < down < y for across, down in dots)


def test_a_plot_of_nothing_says_so(tmp_path: Path, swarm: Swarm) -> None:
    empty = Swarm(tmp_path / "empty")
    run(empty.home, "plot", str(tmp_path / "plot.svg"))
    assert "nothing was measured yet" in (tmp_path / "plot.svg").read_text()


def test_the_export_has_every_record_whole(swarm: Swarm, capsys: pytest.CaptureFixture[str]) -> None:
    run(swarm.home, "export")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    records = [*swarm.authors["alice"].records, *swarm.authors["bob"].records]
    assert {line["id"] for line in lines} == {record.id.hex() for record in records}
    assert {line["payload"] for line in lines} == {record.payload.hex() for record in records}


def test_the_table_has_a_line_per_record_and_no_formula(swarm: Swarm, tmp_path: Path) -> None:
    swarm.write("bob", Hypothesis('=HYPERLINK("http://e.example")', "positions", "", None, None))
    run(swarm.home, "export", "--format", "csv", "--output", str(tmp_path / "records.csv"))
    with (tmp_path / "records.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert rows[0]["gain_percent"] == "18.1269"
    assert rows[0]["pairs"] == "2"
    assert rows[-1]["title"].startswith("'=")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("report", "report.pdf"), "FILE.html or FILE.md"),
        (("plot", "plot.png"), "FILE.svg"),
        (("report", "/nowhere/at/all/report.html"), "give another file"),
    ],
)
def test_mistakes_say_what_to_do(
    swarm: Swarm, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str], says: str
) -> None:
    assert says in complaint(capsys, swarm.home, *arguments)


def test_without_a_ledger_there_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (("export",), ("dashboard",), ("report", "r.html")):
        assert "autoresearch-node join" in complaint(capsys, tmp_path, *command)

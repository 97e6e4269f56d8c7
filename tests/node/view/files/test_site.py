"""The site: what a swarm found, tried and refuted, as pages that stand alone, in a folder of which nothing else is
touched."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from node.cli.main import main
from protocol.identity import verify
from protocol.records import DOMAIN, Effect
from tests.node.records_for_tests import experiment, reporters
from tests.node.view.conftest import HOSTILE, Swarm

VOID = {"meta", "link"}
ATOM = "{http://www.w3.org/2005/Atom}"


class Tags(HTMLParser):
    """The elements of a page, its links, and whether every one that was opened is closed in its place."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.anchors: set[str] = set()
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            assert name != "style"
            self.links += [str(value)] if name in ("src", "href") else []
            self.handlers += [name] if name.startswith("on") else []
            self.anchors |= {str(value)} if name == "id" else set()

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def found(swarm: Swarm) -> Swarm:
    """The home with a claim that is confirmed, and an idea that came to nothing."""
    good = swarm.write("carol", experiment("Good", parent=swarm.parent, child=swarm.child))
    for record in reporters(good, lambda body: swarm.write("alice", body)):
        swarm.ledger.add(record, "peer")
    swarm.write("erin", experiment("Nothing", decision="no_gain", effect=Effect(0.01, 0.01, 1), category="a b <i>"))
    return swarm


def publish(home: Path, folder: Path, *more: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["publish", str(folder), "--home", str(home), *more])
    assert not ended.value.code


def complaint(capsys: pytest.CaptureFixture[str], home: Path, folder: Path) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["publish", str(folder), "--home", str(home)])
    assert ended.value.code == 2
    return capsys.readouterr().err


def pages(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*.html")):
        yield path, path.read_text()


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.read_bytes()) for path in files}


def test_every_page_is_whole_links_lead_somewhere_and_nothing_is_loaded_or_run(found: Swarm, tmp_path: Path) -> None:
    publish(found.home, tmp_path / "site")
    anchors = {path: Tags(page).anchors for path, page in pages(tmp_path / "site")}
    assert len(anchors) == 4 + 3  # at the top, and a page for each claim
    for path, page in pages(tmp_path / "site"):
        tags = Tags(page)
        assert not tags.names & {"script", "img", "iframe", "object", "form", "i"}
        assert tags.handlers == []
        for link in tags.links:
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve()
            assert target.is_file(), link
            assert not anchor or anchor in anchors[target]
        (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"default-src &#39;none&#39;; style-src &#39;sha256-{digest}&#39;" in page


def test_a_discovery_has_claimed_beside_found_its_edit_and_how_to_run_it_again(found: Swarm, tmp_path: Path) -> None:
    publish(found.home, tmp_path / "site")
    (claim,) = (record for record in found.authors["carol"].records)
    page = (tmp_path / "site" / "discoveries" / f"{claim.id.hex()[:20]}.html").read_text()
    assert "confirmed by 3 keys, all of which this node has checked" in page
    assert page.index("+17.3 %") < page.index("+18.1 %")  # found by others, then claimed
    assert f"autoresearch-node reproduce {claim.id.hex()[:10]}" in page
    assert "+LR = 3e-3  # &lt;/pre&gt;&lt;script&gt;" in page
    index = (tmp_path / "site" / "index.html").read_text()
    assert f'<a href="discoveries/{claim.id.hex()[:20]}.html">Good</a>' in index
    assert '<dd class="confirmed">1</dd>' in index
    assert "a b &lt;i&gt;" in (tmp_path / "site" / "tried.html").read_text()


def test_the_data_beside_a_page_prove_what_it_says(found: Swarm, tmp_path: Path) -> None:
    publish(found.home, tmp_path / "site")
    claim = found.authors["carol"].records[0]
    data = json.loads((tmp_path / "site" / "discoveries" / f"{claim.id.hex()[:20]}.json").read_text())
    assert data["discovery"]["standing"] == "confirmed"
    assert len(data["signed"]) == 1 + 3 + 4  # the claim, its reports and their audits
    signed = data["signed"][0]
    payload = bytes.fromhex(signed["payload"])
    assert hashlib.sha256(payload).hexdigest() == signed["id"] == claim.id.hex()
    assert verify(claim.author, DOMAIN, payload, bytes.fromhex(signed["signature"]))
    patch = (tmp_path / "site" / "discoveries" / f"{claim.id.hex()[:20]}.diff").read_text()
    assert patch.startswith("--- parent ")


def test_nothing_of_the_machine_is_in_it(found: Swarm, tmp_path: Path) -> None:
    publish(found.home, tmp_path / "site")
    for path in (tmp_path / "site").rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert str(tmp_path) not in text
            assert "/ip4/" not in text


def test_the_feed_has_what_is_confirmed_and_moves_with_the_site(found: Swarm, tmp_path: Path) -> None:
    publish(found.home, tmp_path / "site", "--url", "https://me.example/swarm")
    feed = ElementTree.parse(tmp_path / "site" / "feed.atom").getroot()
    (entry,) = feed.findall(f"{ATOM}entry")
    claim = found.authors["carol"].records[0]
    assert entry.findtext(f"{ATOM}title") == "Good"
    assert entry.findtext(f"{ATOM}id") == f"urn:sha256:{claim.id.hex()}"
    assert "Others found +17.3 % ± 0.2 (6 pairs)" in str(entry.findtext(f"{ATOM}summary"))
    (link,) = entry.findall(f"{ATOM}link")
    assert link.get("href") == f"https://me.example/swarm/discoveries/{claim.id.hex()[:20]}.html"
    for name in ("title", "id", "updated"):  # what RFC 4287 asks of a feed
        assert feed.findtext(f"{ATOM}{name}")


def test_made_again_only_what_changed_is_written(found: Swarm, tmp_path: Path) -> None:
    publish(found.home, tmp_path / "site")
    before = state(tmp_path / "site")
    publish(found.home, tmp_path / "site")
    assert state(tmp_path / "site") == before
    found.write("erin", experiment("One more", parent=found.parent, child=found.child))
    publish(found.home, tmp_path / "site")
    after = state(tmp_path / "site")
    same = {path for path in before if after[path] == before[path]}
    assert "feed.atom" in same
    assert "index.html" not in same


def test_what_it_made_and_no_longer_wants_goes_and_what_is_anybody_elses_stays(found: Swarm, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    publish(found.home, folder)
    (folder / "CNAME").write_text("me.example")
    (folder / "discoveries" / "notes.txt").write_text("mine")
    (folder / "tried.html").write_text("changed by hand")
    other = Swarm(tmp_path / "other")  # the same objective without a single record
    publish(other.home, folder)
    left = {path for path in state(folder) if path.startswith("discoveries/")}
    assert left == {"discoveries/notes.txt"}
    assert (folder / "CNAME").read_text() == "me.example"
    assert (folder / "tried.html").read_text() == "changed by hand"


def test_a_folder_that_it_did_not_make_is_refused(
    found: Swarm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert "is not empty" in complaint(capsys, found.home, tmp_path)
    assert not (tmp_path / "index.html").exists()
    empty = tmp_path / "cloned"
    (empty / ".git").mkdir(parents=True)  # a checkout of an empty repository is as good as an empty folder
    publish(found.home, empty)
    assert (empty / "index.html").exists()


def test_nothing_is_written_or_removed_through_a_link_or_a_note_from_elsewhere(found: Swarm, tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "site"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    folder.mkdir()
    (folder / "discoveries").symlink_to(outside)
    digest = hashlib.sha256(b"mine").hexdigest()
    objective = found.ledger.objective.hex()
    files = {"../outside/precious": [digest], str(outside / "precious"): [digest], "discoveries/precious": [digest]}
    note = {"version": 1, "objective": objective, "files": files}
    (folder / ".autoresearch-site.json").write_text(json.dumps(note))
    publish(found.home, folder)
    assert {path.name for path in outside.iterdir()} == {"precious"}
    assert (folder / "index.html").exists()


def test_hostile_titles_stay_text(found: Swarm, tmp_path: Path) -> None:
    publish(found.home, tmp_path / "site")
    index = (tmp_path / "site" / "index.html").read_text()
    assert HOSTILE not in index
    assert "&lt;script&gt;window.taken=1&lt;/script&gt;" in index

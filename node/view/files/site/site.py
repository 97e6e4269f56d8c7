"""The whole site as files: pages, the data beside each, pictures, patches and the feed.

Templates are filled by Jinja2 with escaping on, so a stranger's text stays text whatever is in it; only the pictures of
`plot`, which escapes for itself, are put in as they are. A page carries its style and needs no other file and no
script; the policy in its head lets a browser load nothing and run nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from urllib.parse import urljoin

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from node.execution.parsing.parser import SourceParser
from node.ledger.store import Ledger
from node.view.files import plot
from node.view.files.site.feed import Places, feed
from node.view.files.site.pages import (
    Page,
    Swarm,
    carried_by_discovery,
    discovery_page,
    is_patch,
    overview_pages,
    page_of,
)

PACKAGE = "node.view.files.site"


async def site(ledger: Ledger, address: str = "") -> dict[str, bytes]:
    """Every file of the site by its path. address: where it will be, for links in the feed that stand alone."""
    swarm = Swarm.of(ledger)
    files: dict[str, bytes] = {}
    for page in overview_pages(swarm):
        files |= _written(page, swarm)
    picture = plot.progress(swarm.rows, ledger.settings.description, "Everybody whose records are here")
    files["progress.svg"] = picture.encode()
    parser, carried = SourceParser(), carried_by_discovery(swarm.records)
    for found in swarm.found:
        page = await discovery_page(swarm, found, parser, carried.get(found.record.id.hex(), ()))
        files |= _written(page, swarm)
        stem = page.path.removesuffix(".html")
        files[f"{stem}.svg"] = plot.forest(found, ledger.settings.description.measured_suffix).encode()
        if is_patch(page.data["diff"] or []):
            files[f"{stem}.diff"] = ("\n".join(page.data["diff"]) + "\n").encode()
    places = Places(
        urljoin(address, "feed.atom"), urljoin(address, "index.html"), lambda one: urljoin(address, page_of(one))
    )
    files["feed.atom"] = feed(ledger, swarm.found, places)
    return files


def _written(page: Page, swarm: Swarm) -> dict[str, bytes]:
    """A page and its data."""
    data_path = page.path.removesuffix(".html") + ".json"
    depth = page.path.count("/")
    html = (
        _templates()
        .get_template(page.template)
        .render(
            page.values,
            about=swarm.about(),
            root="../" * depth,
            here=page.path if depth == 0 else "discoveries.html",
            data_file=data_path.rpartition("/")[2],
        )
    )
    text = json.dumps(page.data, indent=1, sort_keys=True, ensure_ascii=False)
    return {page.path: html.encode(), data_path: text.encode() + b"\n"}


@cache
def _templates() -> Environment:
    style = (resources.files(PACKAGE) / "templates" / "style.css").read_text(encoding="utf-8")
    templates = Environment(
        loader=PackageLoader(PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    templates.globals |= {"style": Markup(style), "policy": policy}
    return templates

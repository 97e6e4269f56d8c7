"""The command `promote`: asks the running node to run a discovery at a larger scale, or runs it where there is none."""

from __future__ import annotations

from contextlib import closing

from node.app.promotions import leave, promote_now, promoted_before, promotion_of, refuse_too_large, scale_asked_for
from node.app.researched import held
from node.app.this_machine import on_this_machine
from node.ledger.store import Ledger
from node.objective.schema import ObjectiveError
from node.platform.config import Config
from node.platform.file_trouble import HomeError
from node.platform.home import Home
from node.platform.log import Json, open_log
from node.view.model.transfers import transfer_json
from node.view.terminal.run_bar import RunBar
from protocol.records import Record


def promote(prefix: str, scale: str | None, config: Config) -> Json:
    """What a promotion came to, or `waiting` where the running node has taken the request. Raises HomeError."""
    try:
        return _promote(prefix, scale, config)
    except ObjectiveError as error:
        raise HomeError(str(error)) from None


def _promote(prefix: str, scale: str | None, config: Config) -> Json:
    home = Home(config.home)
    with closing(Ledger.read(home.ledger)) as ledger:
        objective = on_this_machine(held(home, ledger.objective, ledger).objective, config).objective
        promotion = promotion_of(ledger, prefix, scale_asked_for(objective, scale, config.scale), objective)
        done = promoted_before(ledger, ledger.settings.author, promotion)
        if done is not None:
            return _shown(done, promotion.claim)
        refuse_too_large(objective, promotion.scale, config)
        if home.in_use():
            leave(home.promotions, ledger.objective, promotion)
            return {"waiting": True, "discovery": promotion.claim.id.hex(), "scale": promotion.scale}
    with home.locked():
        log = open_log(home.root, config.log_level)

        def write(event: str, level: str = "info", **details: object) -> None:
            getattr(log, level)(event, **details)

        with RunBar() as view:
            return _shown(promote_now(config, prefix, scale, view, write), promotion.claim)


def _shown(record: Record, claim: Record) -> Json:
    return {"waiting": False} | transfer_json(record, claim)

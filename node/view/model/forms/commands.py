"""What each command prints with `--json`: its form as a type, by which a script may rely on it.

`scripts/json_schemas.py` writes docs/schema/*.json from these, and tests hold both what is printed and these files
against them. Within one major version of the program a field that is described here stays, with its type and meaning.
Fields may be added, so readers ignore what they do not know. What is a plain `dict` here is open: a record's body
([protocol](../../../../protocol/README.md)), and what a running node says of itself beyond the fields named.
"""

from __future__ import annotations

from typing import Any

from node.view.model.forms import home, live, objectives, research, views

VERSION = 1

FORMS: dict[str, Any] = {
    "compare": views.Compared,
    "contribution": views.Contribution,
    "doctor": list[home.Finding],
    "finalize": list[home.Finalized],
    "invite": home.Invite,
    "key new": home.KeyMade,
    "key show": home.KeyShown,
    "leaderboard": research.Leaderboard,
    "ledger check": home.LedgerChecked,
    "ledger export": home.LedgerExported,
    "ledger repair": home.LedgerRepaired,
    "live approve": live.Approved,
    "live assign": list[live.Assigned],
    "live export": live.LiveMap,
    "live import": live.MailingImported,
    "live show": live.VariantShown,
    "live status": live.LiveStatus,
    "live withdraw": live.Withdrawn,
    "log": home.LogEvent,
    "map": views.Map,
    "objective check": objectives.ObjectiveChecked,
    "objective import": objectives.ObjectiveImported,
    "objective list": list[objectives.ListedObjective],
    "objective show": objectives.ObjectiveShown,
    "peer check": home.PeerChecked,
    "peer show": views.PeerShown,
    "progress": views.Progress,
    "promote": home.Promoted,
    "publish": home.Published,
    "records": list[research.Record],
    "reproduce": list[home.RunAgain],
    "service status": home.ServiceStatus,
    "settings": home.Settings,
    "show": research.Show,
    "status": research.Status,
    "strategy": views.Strategy,
    "suggestions": home.Suggestions,
    "swarm graph": views.SwarmGraph,
    "watch": research.Watch,
}

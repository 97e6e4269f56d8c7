"""The example repositories are data: their own tests are theirs."""

collect_ignore = ["examples"]

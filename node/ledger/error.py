"""What is raised where the ledger cannot be used."""


class LedgerError(Exception):
    """The ledger cannot be used as it is; the text says what to do."""

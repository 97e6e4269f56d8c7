"""The template's judge."""

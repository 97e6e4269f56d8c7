"""What a person types: one file a group of commands. Thin: arguments in, text out."""

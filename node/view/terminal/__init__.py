"""What is shown in a terminal: tables and the live screen."""

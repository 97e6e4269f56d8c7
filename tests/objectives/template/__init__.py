"""What the template draws, and how it judges."""

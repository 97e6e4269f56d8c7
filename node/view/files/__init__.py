"""What a person can keep as a file: report, plot, export."""

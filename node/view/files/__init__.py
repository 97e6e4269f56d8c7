"""What a person takes along as a file: report, plot, export."""

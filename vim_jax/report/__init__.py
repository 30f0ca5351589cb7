"""Pictures, plots and pages for people to look at."""

"""One file a table or figure: `python -m experiments.NAME --preset smoke|cpu`."""

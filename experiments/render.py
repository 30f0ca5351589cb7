"""`python -m experiments.render`: pages of docs/ that show results.

Their tables and plots are made of the committed results, so that no number in those is
typed. What is written around them is: read it again when results change.
"""

from experiments import privacy_page, results_page, results_plots

if __name__ == "__main__":
    privacy_page.write()
    results_page.write()
    results_plots.write()

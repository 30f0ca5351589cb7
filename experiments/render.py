"""`python -m experiments.render`: pages of docs/ that show results.

They are made of the committed results, so that no number in them is typed.
"""

from experiments import privacy_page, results_page, results_plots

if __name__ == "__main__":
    privacy_page.write()
    results_page.write()
    results_plots.write()

"""`python -m vim_jax`: the same as `vim-jax`."""

from vim_jax.cli import main

if __name__ == "__main__":
    main()

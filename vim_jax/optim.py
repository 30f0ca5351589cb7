"""ST-Adam, the optimizer of the VisualMixer paper, as optax transformations."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.tree
from jax.typing import ArrayLike, DTypeLike


class ScaleByStAdamState(NamedTuple):
    """State of `scale_by_st_adam`; both fields have the structure of the params."""

    mu: optax.Updates  # first moment; dtype mu_dtype, or that of the parameter
    nu: optax.Updates  # second moment; real, as wide as the parameter, 32 bits at least


def scale_by_st_adam(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 0.0,
    eps_root: ArrayLike = 1e-8,
    *,
    mu_dtype: DTypeLike | None = None,
) -> optax.GradientTransformation:
    """Rescales updates according to the ST-Adam algorithm.

    See `st_adam` for the equations. The result still needs a learning rate.

    Args:
      b1: Decay rate of the mean of past gradients, in [0, 1).
      b2: Decay rate of the mean of past squared gradients, in [0, 1).
      eps: Added to the denominator, outside the square root; at least 0.
      eps_root: Added inside the square root; at least 0.
      mu_dtype: dtype in which to keep the first moment; by default that of the
        parameters. The second moment is never kept in fewer than 32 bits.

    Returns:
      An `optax.GradientTransformation`. Its updates have the dtypes of the
      gradients it is given; the arithmetic is done in float32 at least.

    Raises:
      ValueError: If a hyperparameter is an array of fewer than 32 bits.
    """
    for name, value in dict(b1=b1, b2=b2, eps=eps, eps_root=eps_root).items():
        _check_wide_enough(name, value)

    def init_fn(params):
        return ScaleByStAdamState(
            mu=optax.tree.zeros_like(params, dtype=mu_dtype),
            # 0.999 rounds to 1 in bfloat16, and one step changes nu by less than
            # the spacing of bfloat16 numbers: a 16-bit nu would never decay.
            nu=_widen(optax.tree.real(optax.tree.zeros_like(params))),
        )

    def update_fn(updates, state, params=None):
        del params
        grads = _widen(updates)
        mu = optax.tree.update_moment(grads, _widen(state.mu), b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(grads, state.nu, b2, 2)

        def direction(g, m, v):
            scale = (jnp.sqrt(v + eps_root) + eps).astype(m.dtype)
            return (m / scale).astype(g.dtype)

        directions = jax.tree.map(direction, updates, mu, nu)
        return directions, ScaleByStAdamState(optax.tree.cast_like(mu, state.mu), nu)

    return optax.GradientTransformation(init_fn, update_fn)


def st_adam(
    learning_rate: optax.ScalarOrSchedule,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 0.0,
    eps_root: ArrayLike = 1e-8,
    *,
    mu_dtype: DTypeLike | None = None,
    weight_decay: optax.ScalarOrSchedule | None = None,
    mask: Any | Callable[[optax.Params], Any] | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""ST-Adam: Adam without bias correction, epsilon inside the square root.

    With gradient :math:`g_t`, learning rate :math:`\eta`, decay rates
    :math:`\beta` (`b1`) and :math:`\gamma` (`b2`), and
    :math:`m_0 = v_0 = 0`:

    .. math::

      m_t &= \beta m_{t-1} + (1 - \beta) g_t \\
      v_t &= \gamma v_{t-1} + (1 - \gamma) g_t^2 \\
      w_{t+1} &= w_t - \eta \frac{m_t}{\sqrt{v_t + \bar\epsilon} + \epsilon}

    The update rule of the paper has its epsilon inside the root
    (:math:`\bar\epsilon`, `eps_root`) and nothing outside; its convergence
    argument writes it outside (:math:`\epsilon`, `eps`). The defaults follow the
    update rule; for the other form set ``eps=1e-8, eps_root=0``. That is far less:
    the denominator is at least 1e-8 then, and 1e-4, the root of `eps_root`, here.

    **Early steps are large.** The moments start at zero and are not corrected
    for it, so under a constant gradient well above epsilon step t has size
    :math:`(1-\beta^t)/\sqrt{1-\gamma^t}` learning rates. At the default decay
    rates that is :math:`0.1/\sqrt{0.001} = 3.16` at the first step, 6.6 at its
    peak at step 12, and still 1.26 at step 1000, where Adam takes 1 throughout.
    A warm-up of the learning rate tames this.

    **Zero gradients.** Where the gradient has always been zero the step is zero,
    as long as `eps` or `eps_root` is positive; with both zero it is 0/0 = NaN.

    Args:
      learning_rate: A scalar, or a schedule from the step count to a scalar.
      b1: Decay rate of the mean of past gradients, in [0, 1).
      b2: Decay rate of the mean of past squared gradients, in [0, 1).
      eps: Added to the denominator, outside the square root; at least 0.
      eps_root: Added inside the square root; at least 0.
      mu_dtype: dtype in which to keep the first moment; by default that of the
        parameters. The second moment is never kept in fewer than 32 bits. Under
        `optax.inject_hyperparams` name it in ``static_args``.
      weight_decay: Strength of decoupled weight decay: adds
        ``weight_decay * params`` to the direction, before the learning rate. None
        decays nothing.
      mask: Which parameters decay: a pytree of booleans with the structure of
        the parameters or a prefix of it, or a function from parameters to one.
        None decays them all. Under `optax.inject_hyperparams` name it in
        ``static_args``: optax would take a function for a schedule, and nothing decay.

    Returns:
      The `optax.GradientTransformationExtraArgs`. ``update`` needs the
      parameters when a weight decay is given, be it zero.

    Raises:
      ValueError: If a hyperparameter is an array of fewer than 32 bits, as
        `optax.inject_hyperparams` makes for 16-bit parameters; pass it
        ``hyperparam_dtype=jnp.float32``.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from vim_jax.optim import st_adam
      >>> def f(x): return jnp.sum(x**2)
      >>> solver = optax.chain(optax.clip_by_global_norm(1.0), st_adam(0.003))
      >>> params = jnp.array([1.0, 2.0, 3.0])
      >>> print(f"{f(params):.2f}")
      14.00
      >>> state = solver.init(params)
      >>> for _ in range(5):
      ...     grads = jax.grad(f)(params)
      ...     updates, state = solver.update(grads, state, params)
      ...     params = optax.apply_updates(params, updates)
      ...     print(f"{f(params):.2f}")
      13.89
      13.73
      13.56
      13.37
      13.17

    References:
      Li et al, `You Can Use But Cannot Recognize: Preserving Visual Privacy in
      Deep Neural Networks <https://arxiv.org/abs/2404.04098>`_, NDSS 2024
    """
    steps = [scale_by_st_adam(b1, b2, eps, eps_root, mu_dtype=mu_dtype)]
    if weight_decay is not None:
        steps.append(optax.add_decayed_weights(weight_decay, mask))
    steps.append(optax.scale_by_learning_rate(learning_rate))
    return optax.chain(*steps)


def _widen(tree: optax.Params) -> optax.Params:
    """Casts floats of fewer than 32 bits to float32."""

    def widen(x):
        narrow = jnp.issubdtype(x.dtype, jnp.inexact) and jnp.finfo(x.dtype).bits < 32
        return x.astype(jnp.float32) if narrow else x

    return jax.tree.map(widen, tree)


def _check_wide_enough(name: str, value: ArrayLike) -> None:
    """Rejects hyperparameters whose dtype rounds 0.999 to 1 or 1e-8 to 0."""
    dtype = getattr(value, "dtype", None)
    if dtype in (jnp.bfloat16, jnp.float16):
        raise ValueError(
            f"{name} is held in {jnp.dtype(dtype).name}, which rounds 0.999 or 1e-8 "
            "away: pass a Python float, a float32 array, or "
            "hyperparam_dtype=jnp.float32 to optax.inject_hyperparams."
        )

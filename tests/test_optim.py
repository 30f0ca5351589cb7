"""ST-Adam against a slow NumPy version, and optax's list for contributed optimizers."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.tree
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vim_jax.optim import ScaleByStAdamState, scale_by_st_adam, st_adam

GRADS = {"w": jnp.array([[0.3, -2.0], [0.0, 1e-3]]), "b": jnp.array([-5.0, 0.1])}
PARAMS = {"w": jnp.array([[1.0, 2.0], [-1.0, 0.5]]), "b": jnp.array([0.0, 3.0])}


@pytest.fixture
def optax_promotion():
    """The promotion that optax's own schedules and bias correction need."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def update(opt, grads, state=None, params=None) -> tuple[Any, Any]:
    """One compiled update, from a fresh state if none is given."""
    if state is None:
        state = jax.jit(opt.init)(grads if params is None else params)
    return jax.jit(opt.update)(grads, state, params)


def slow_st_adam(w, grads, lr, b1, b2, eps, eps_root):
    """One float64 parameter vector at a time, one element at a time."""
    w = np.array(w, np.float64)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for g in np.asarray(grads, np.float64):
        for i in range(w.size):
            m[i] = b1 * m[i] + (1 - b1) * g[i]
            v[i] = b2 * v[i] + (1 - b2) * g[i] ** 2
            w[i] -= lr * m[i] / (np.sqrt(v[i] + eps_root) + eps)
    return w


@pytest.mark.parametrize(
    ("b1", "b2", "eps", "eps_root"),
    [(0.9, 0.999, 0.0, 1e-8), (0.9, 0.999, 1e-8, 0.0), (0.5, 0.9, 1e-2, 1e-2)],
)
def test_matches_numpy_over_many_steps(b1, b2, eps, eps_root):
    random = np.random.default_rng(0)
    # Scales from far above to far below the epsilons.
    grads = random.normal(size=(300, 7)) * 10.0 ** np.arange(-6, 1)
    start = random.normal(size=7)
    expected = slow_st_adam(start, grads, 0.01, b1, b2, eps, eps_root)

    opt = st_adam(0.01, b1, b2, eps, eps_root)
    params: Any = jnp.asarray(start, jnp.float32)
    state = opt.init(params)
    step = jax.jit(opt.update)
    for g in jnp.asarray(grads, jnp.float32):
        updates, state = step(g, state, params)
        params = optax.apply_updates(params, updates)
    # Not to a relative tolerance: a parameter may end close to zero.
    np.testing.assert_allclose(params, expected, rtol=0, atol=2e-5)


def test_complex_parameters_go_down_the_gradient():
    grads = jnp.array([1 + 1j, 1j, 1, -2], jnp.complex64)
    opt = scale_by_st_adam()
    updates, _ = opt.update(grads, opt.init(grads))
    updates = np.asarray(updates)
    np.testing.assert_allclose(np.angle(updates), np.angle(grads), atol=1e-6)
    np.testing.assert_allclose(np.abs(updates), 0.1 / np.sqrt(0.001), rtol=1e-4)


def test_step_sizes_under_a_constant_gradient():
    opt = st_adam(0.01)
    grads = jnp.array([1.0, -7.0])
    state, step = opt.init(grads), jax.jit(opt.update)
    sizes = []
    for _ in range(1000):
        updates, state = step(grads, state)
        sizes.append(np.abs(np.asarray(updates)) / 0.01)
    sizes = np.array(sizes)
    np.testing.assert_allclose(sizes[0], np.sqrt(10), rtol=1e-5)  # 3.16
    assert np.argmax(sizes[:, 0]) == 12 - 1
    np.testing.assert_allclose(sizes[11], 6.57, atol=0.01)
    np.testing.assert_allclose(sizes[999], 1.26, atol=0.01)


@pytest.mark.usefixtures("optax_promotion")
def test_is_adam_when_nothing_is_averaged():
    got, _ = update(scale_by_st_adam(0.0, 0.0, eps=1e-3, eps_root=1e-2), GRADS)
    adam = optax.scale_by_adam(0.0, 0.0, eps=1e-3, eps_root=1e-2)
    expected, _ = update(adam, GRADS)
    chex.assert_trees_all_close(got, expected, rtol=1e-6)


@pytest.mark.usefixtures("optax_promotion")
def test_is_adam_times_the_bias_correction():
    b1, b2 = 0.9, 0.999
    ours, adam = st_adam(0.1, b1, b2, 0.0, 0.0), optax.adam(0.1, b1, b2, eps=0.0)
    ours_state = adam_state = None
    for t in range(1, 20):
        grads = jnp.array([np.sin(t), 1.0 + 1.0 / t], jnp.float32)
        got, ours_state = update(ours, grads, ours_state)
        expected, adam_state = update(adam, grads, adam_state)
        ratio = (1 - b1**t) / np.sqrt(1 - b2**t)
        np.testing.assert_allclose(got, ratio * expected, rtol=1e-4)


def test_zero_gradients_give_zero_steps_unless_both_epsilons_are_zero():
    zero = jnp.zeros(3)
    for opt in (st_adam(0.1), st_adam(0.1, eps=1e-8, eps_root=0.0)):
        np.testing.assert_array_equal(update(opt, zero)[0], zero)
    assert np.isnan(update(st_adam(0.1, eps=0.0, eps_root=0.0), zero)[0]).all()


def parabola(params):
    return jnp.sum((params - jnp.array([1.0, -1.0, 1.0])) ** 2)


def rosenbrock(params):
    return (1.0 - params[0]) ** 2 + 100.0 * (params[1] - params[0] ** 2) ** 2


def mixed_ranks(params):
    goal = jnp.array([[3.0, -2.0], [1.0, 4.0]])
    return jnp.sum((params[0] - 2.0) ** 2) + jnp.sum((params[1] - goal) ** 2)


@pytest.mark.parametrize(
    ("objective", "start", "goal"),
    [
        (parabola, jnp.array([-1.0, 10.0, 1.0]), jnp.array([1.0, -1.0, 1.0])),
        (rosenbrock, jnp.zeros(2), jnp.ones(2)),
        (
            mixed_ranks,
            (jnp.zeros(3), jnp.zeros((2, 2))),
            (jnp.full(3, 2.0), jnp.array([[3.0, -2.0], [1.0, 4.0]])),
        ),
    ],
)
def test_converges(objective, start, goal):
    opt = st_adam(3e-3)

    def step(carry, _):
        params, state = carry
        updates, state = opt.update(jax.grad(objective)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (start, opt.init(start)), length=30_000)
    chex.assert_trees_all_close(params, goal, rtol=3e-2, atol=3e-2)


def test_accepts_extra_args_and_compiles_once():
    opt = st_adam(1e-2)
    bare = optax.with_extra_args_support(scale_by_st_adam())

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params, state):
        value, grads = jax.value_and_grad(rosenbrock)(params)
        updates, state = opt.update(grads, state, params, value=value, unknown=1)
        bare.update(grads, bare.init(params), params, value=value, unknown=1)
        return optax.apply_updates(params, updates), state

    params = jnp.zeros(2)
    state = opt.init(params)
    for _ in range(3):
        params, state = step(params, state)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_injected_hyperparameters_give_identical_updates(weight_decay):
    plain = st_adam(1e-2, weight_decay=weight_decay)
    injected = optax.inject_hyperparams(st_adam)(1e-2, weight_decay=weight_decay)
    plain_state = injected_state = None
    for _ in range(3):
        expected, plain_state = update(plain, GRADS, plain_state, PARAMS)
        got, injected_state = update(injected, GRADS, injected_state, PARAMS)
        chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-9)
    for moment in ("mu", "nu"):
        chex.assert_trees_all_close(
            optax.tree.get(injected_state, moment),
            optax.tree.get(plain_state, moment),
            rtol=2e-5,  # 1 - b2 is rounded more coarsely when b2 is a float32 array
        )


def test_a_mask_is_static_where_hyperparameters_are_injected():
    """Otherwise optax takes it for a schedule, and nothing decays."""

    def mask(_):
        return {"w": True, "b": False}

    options = dict(weight_decay=0.5, mask=mask, mu_dtype=jnp.bfloat16)
    static = ("mask", "mu_dtype")
    injected = optax.inject_hyperparams(st_adam, static_args=static)(1e-2, **options)
    got, _ = injected.update(GRADS, injected.init(PARAMS), PARAMS)
    expected, _ = update(st_adam(1e-2, **options), GRADS, params=PARAMS)
    chex.assert_trees_all_close(got, expected, rtol=1e-5)


def test_injected_hyperparameters_need_no_parameters_without_decay():
    injected = optax.inject_hyperparams(st_adam)(1e-2)
    got, _ = injected.update(GRADS, injected.init(PARAMS))
    expected, _ = update(st_adam(1e-2), GRADS, None, PARAMS)
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-9)


def test_integers_among_the_parameters_have_a_state():
    params = {"w": jnp.ones(2), "count": jnp.int32(3)}
    state = st_adam(1e-2).init(params)
    assert optax.tree.get(state, "mu")["count"].dtype == jnp.int32


def test_hyperparameters_that_16_bits_would_round_away_are_refused():
    params = jnp.ones(2, jnp.bfloat16)
    with pytest.raises(ValueError, match=r"b1 is held in bfloat16.*hyperparam_dtype"):
        optax.inject_hyperparams(st_adam)(1e-2).init(params)
    with pytest.raises(ValueError, match="eps_root is held in float16"):
        scale_by_st_adam(eps_root=jnp.float16(1e-4))
    optax.inject_hyperparams(st_adam, hyperparam_dtype=jnp.float32)(1e-2).init(params)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("mu_dtype", [None, "float32", "bfloat16"])
def test_dtypes(dtype, mu_dtype):
    opt = scale_by_st_adam(mu_dtype=mu_dtype)
    params = jnp.array([1.0, 2.0, 0.0], dtype)
    state = opt.init(params)
    for _ in range(2):
        updates, new = jax.jit(opt.update)(2 * params, state, params)
        assert updates.dtype == params.dtype
        assert np.isfinite(np.asarray(updates, np.float32)).all()
        assert new.mu.dtype == jnp.dtype(mu_dtype or dtype)
        assert new.nu.dtype == jnp.float32
        chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
        state = new


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_follows_float32(dtype):
    grads = jnp.asarray(np.random.default_rng(0).normal(size=(200, 5)), dtype)
    opt = scale_by_st_adam(mu_dtype="float32")

    def run(grads):
        state, directions = opt.init(grads[0]), []
        for g in grads:
            direction, state = update(opt, g, state)
            directions.append(np.asarray(direction, np.float32))
        return np.array(directions)

    # One rounding of the result is all that half precision may cost.
    np.testing.assert_allclose(run(grads), run(grads.astype("float32")), rtol=2**-8)


@pytest.mark.usefixtures("optax_promotion")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_gradient_accumulation(dtype):
    steps = optax.MultiSteps(st_adam(0.1), every_k_schedule=4)
    params = jnp.array([1.0, 2.0], dtype)
    grads, state = 2 * params, None
    for _ in range(3):
        updates, state = update(steps, grads, state, params)
        np.testing.assert_array_equal(updates, jnp.zeros_like(params))
    updates, _ = update(steps, grads, state, params)
    expected, _ = update(st_adam(0.1), grads)
    np.testing.assert_allclose(
        np.asarray(updates, np.float32), np.asarray(expected, np.float32), rtol=1e-2
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_state_is_stable_through_cond(dtype):
    opt = st_adam(1e-2)
    params = jnp.array([-1.0, 10.0, 1.0], dtype)

    @jax.jit
    def step(flag, params, state):
        grads = 2 * params
        updates, state = jax.lax.cond(
            flag, lambda: opt.update(grads, state, params), lambda: (params, state)
        )
        return optax.apply_updates(params, updates), state

    state = opt.init(params)
    for flag in (True, False, True):
        params, new_state = step(flag, params, state)
        assert params.dtype == jnp.dtype(dtype)
        chex.assert_trees_all_equal_shapes_and_dtypes(new_state, state)
        state = new_state


@pytest.mark.usefixtures("optax_promotion")
def test_learning_rate_schedule():
    schedule = optax.piecewise_constant_schedule(1e-3, {1: 10.0})
    state = plain_state = None
    for rate in (1e-3, 1e-2):
        got, state = update(st_adam(schedule), GRADS, state)
        direction, plain_state = update(scale_by_st_adam(), GRADS, plain_state)
        expected = optax.tree.scale(-rate, direction)
        chex.assert_trees_all_close(got, expected, rtol=1e-6)


@pytest.mark.parametrize("as_function", [True, False])
def test_weight_decay_is_decoupled_and_masked(as_function):
    mask = {"w": True, "b": False}
    decayed = st_adam(
        0.1, weight_decay=0.5, mask=(lambda _: mask) if as_function else mask
    )
    got, _ = update(decayed, GRADS, params=PARAMS)
    expected, _ = update(st_adam(0.1), GRADS)
    chex.assert_trees_all_close(got["b"], expected["b"])
    chex.assert_trees_all_close(
        got["w"], expected["w"] - 0.1 * 0.5 * PARAMS["w"], rtol=1e-6
    )


def test_works_inside_masked():
    opt = optax.masked(st_adam(0.1), {"w": True, "b": False})
    got, _ = update(opt, GRADS, params=PARAMS)
    np.testing.assert_array_equal(got["b"], GRADS["b"])
    expected, _ = update(st_adam(0.1), GRADS["w"])
    np.testing.assert_array_equal(got["w"], expected)


def test_chains_and_keeps_missing_leaves():
    opt = optax.chain(optax.clip(1.0), st_adam(0.1))
    grads = {"w": jnp.array([100.0, -0.5]), "frozen": None}
    updates, _ = update(opt, grads)
    assert updates["frozen"] is None
    expected, _ = update(st_adam(0.1), jnp.array([1.0, -0.5]))
    np.testing.assert_array_equal(updates["w"], expected)


def test_state_can_be_mapped_like_parameters():
    opt = st_adam(0.1)
    state = opt.init(PARAMS)
    raised: Any = optax.tree.map_params(opt, lambda x: x + 1, state)
    inner = raised[0]
    assert isinstance(inner, ScaleByStAdamState)
    chex.assert_trees_all_close(inner.mu, optax.tree.ones_like(PARAMS))


def test_shards_with_the_parameters():
    mesh = jax.make_mesh((8,), ("data",))
    rows = NamedSharding(mesh, P("data"))
    grads = jnp.asarray(np.random.default_rng(0).normal(size=(16, 3)), jnp.float32)
    params = jnp.ones((16, 3))
    opt = st_adam(0.1, weight_decay=0.1)

    def two_steps(params, grads) -> tuple[Any, Any]:
        state = opt.init(params)
        for _ in range(2):
            updates, state = update(opt, grads, state, params)
            params = optax.apply_updates(params, updates)
        return params, state

    expected, _ = two_steps(params, grads)
    got, state = two_steps(jax.device_put(params, rows), jax.device_put(grads, rows))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    for moment in (optax.tree.get(state, "mu"), optax.tree.get(state, "nu")):
        assert moment.sharding.is_equivalent_to(rows, 2)

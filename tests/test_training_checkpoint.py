"""Checkpoints: round trips, damage, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vim_jax.training import TrainState, checkpoint


def state_of(value, names=("a", "b")):
    params = {name: jnp.full((2, 3), value) for name in names}
    opt_state = jnp.bfloat16(value), None
    return TrainState(params, {}, None, opt_state, None, jnp.int32(value))


def test_checkpoint_round_trip(tmp_path):
    assert checkpoint.restore_latest(tmp_path / "none", state_of(0.0)) is None
    for step in (1, 2, 10):
        checkpoint.save(tmp_path, step, state_of(float(step)), {"lines": [0.1, step]})
    found = checkpoint.restore_latest(tmp_path, state_of(0.0))
    assert found is not None
    assert found.step == 10
    assert found.metadata == {"lines": [0.1, 10]}
    expected = state_of(10.0)
    assert jax.tree.structure(found.state) == jax.tree.structure(expected)
    for got, leaf in zip(*map(jax.tree.leaves, (found.state, expected)), strict=True):
        assert got.dtype == leaf.dtype
        np.testing.assert_array_equal(got, leaf)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "2"]


def test_checkpoint_of_another_structure_is_refused_not_skipped(tmp_path):
    checkpoint.save(tmp_path, 1, state_of(1.0), {})
    with pytest.raises(ValueError, match=r"params/b is float32 .* there and absent"):
        checkpoint.restore_latest(tmp_path, state_of(0.0, names=("a", "c")))


def test_all_checkpoints_damaged_is_an_error(tmp_path):
    checkpoint.save(tmp_path, 1, state_of(1.0), {})
    (tmp_path / "1/manifest.json").write_text('{"a')
    with (
        pytest.warns(
            UserWarning, match=r"1 is passed over: its manifest.json is damaged"
        ),
        pytest.raises(RuntimeError, match=r"All checkpoints .* are damaged: delete"),
    ):
        checkpoint.restore_latest(tmp_path, state_of(0.0))


def test_unfinished_checkpoint_does_not_count(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, state_of(float(step)), {})
    (tmp_path / "2/manifest.json").unlink()
    with pytest.warns(
        UserWarning, match=r"2 is passed over: it was not written to its end"
    ):
        found = checkpoint.restore_latest(tmp_path, state_of(0.0))
    assert found is not None
    assert found.step == 1
    (tmp_path / "1/manifest.json").unlink()
    with pytest.warns(UserWarning, match="not written to its end"):
        assert checkpoint.restore_latest(tmp_path, state_of(0.0)) is None
    checkpoint.save(tmp_path, 2, state_of(2.0), {})
    found = checkpoint.restore_latest(tmp_path, state_of(0.0))
    assert found is not None
    assert found.step == 2


@pytest.mark.parametrize("damage", [lambda path: path.unlink(),
                                    lambda path: path.write_text("{"),
                                    lambda path: path.write_text("{}"),
                                    lambda path: path.write_text("null")])  # fmt: skip
def test_a_useless_checkpoint_never_drives_out_a_good_one(tmp_path, damage):
    """A run that went on from 20 is killed while it writes 25."""
    for step in (10, 20, 30):
        checkpoint.save(tmp_path, step, state_of(float(step)), {})
    damage(tmp_path / "30/manifest.json")
    checkpoint.save(tmp_path, 25, state_of(25.0), {})
    (tmp_path / "25/manifest.json").unlink()
    with pytest.warns(UserWarning, match="25 is passed over"):
        found = checkpoint.restore_latest(tmp_path, state_of(0.0))
    assert found is not None
    assert found.step == 20


def test_random_keys_are_never_stored(tmp_path):
    with pytest.raises(TypeError, match="holds a random key at 1/key: derive"):
        checkpoint.save(tmp_path, 1, (jnp.ones(2), {"key": jax.random.key(0)}), {})
    assert checkpoint.restore_latest(tmp_path, jnp.ones(2)) is None

"""No attack at all: how near the published images themselves are to the originals."""

import dataclasses

from vim_jax.attacks.protocol import Images, Knowledge, Outcome, Truth
from vim_jax.attacks.similarity import picture_scores


@dataclasses.dataclass(frozen=True)
class Config:
    """Nothing to choose."""


def run(
    published: Images, knowledge: Knowledge, truth: Truth, config: Config
) -> Outcome:
    """Looks at the images. The control looks at the originals."""
    del config
    mixer = knowledge.mixer
    scores = picture_scores(
        published,
        truth.originals,
        name="as published",
        knowledge=(),
        control_case="the originals, not mixed",
        control_pictures=truth.originals,
        control_ssim=0.99,
        auxiliary=knowledge.auxiliary,
        channels="independent" if mixer is None else mixer.channels,
    )
    return Outcome(scores, published)

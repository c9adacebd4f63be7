"""A still from one camera: the first shot of a labelled sequence."""

from simhand_cli.synth.scene.arrange import Variety
from simhand_cli.synth.shots import LabelledShot, labelled_sequence


def labelled_shot(
    seed: int, number: int, subject: int, variety: Variety | None = None, image_px: int = 256
) -> LabelledShot:
    """A still from one camera, as :func:`labelled_sequence`."""
    return next(labelled_sequence(seed, number, subject, variety or Variety(), image_px))

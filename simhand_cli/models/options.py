"""Options of networks that more than one stage names."""

from typing import Literal

#: Target and loss maps and the model's prediction are 32 x 32 for a 128 px crop, as DetNet has it.
Readout = Literal["average", "argmax"]

"""The 21-joint hand skeleton used everywhere: order, bones, fingers (MediaPipe = FreiHAND order).

Wrist first, then thumb, index, middle, ring and little finger, each from palm to tip.
"""

from typing import Final, Literal

JOINT_NAMES: Final[tuple[str, ...]] = (
    "wrist",
    "thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip",
    "index_mcp", "index_pip", "index_dip", "index_tip",
    "middle_mcp", "middle_pip", "middle_dip", "middle_tip",
    "ring_mcp", "ring_pip", "ring_dip", "ring_tip",
    "little_mcp", "little_pip", "little_dip", "little_tip",
)  # fmt: skip
NUM_JOINTS: Final = 21
WRIST: Final = 0
MIDDLE_MCP: Final = 9
#: Joints that 3D positions may be relative to, in options.
RootJoint = Literal["wrist", "middle_mcp"]

#: Parent of each joint in the kinematic tree; the wrist is its own parent.
PARENTS: Final[tuple[int, ...]] = (0, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)

#: (parent, child) of the 20 bones.
BONES: Final[tuple[tuple[int, int], ...]] = tuple((PARENTS[j], j) for j in range(1, NUM_JOINTS))

#: Joints of each finger, palm to tip.
FINGERS: Final[dict[str, tuple[int, ...]]] = {
    "thumb": (1, 2, 3, 4),
    "index": (5, 6, 7, 8),
    "middle": (9, 10, 11, 12),
    "ring": (13, 14, 15, 16),
    "little": (17, 18, 19, 20),
}

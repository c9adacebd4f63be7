"""The synthetic hand: its surface, skeleton, skin, people, poses and motion."""

"""What surrounds the hand: camera, backgrounds, held things, second hands."""

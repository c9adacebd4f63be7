"""Measuring a 3D hand model: which sets, predictions, scores, comparisons, leaderboard files."""

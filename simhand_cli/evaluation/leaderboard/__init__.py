"""Files in the forms that the public leaderboards of labelled sets read."""

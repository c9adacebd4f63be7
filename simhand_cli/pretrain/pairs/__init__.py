"""Pairs of crops: the table of positives, their order in an epoch, batches of decoded views."""

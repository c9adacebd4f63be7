"""What can be wrong with a labelled set: labels, sides, joint order, projections, pictures."""

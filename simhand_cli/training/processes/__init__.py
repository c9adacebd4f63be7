"""The processes of a training: launch, rendezvous, cluster environment, ranks, failures."""

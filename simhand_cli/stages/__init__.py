"""What every stage promises: run folders that skip, resume or refuse, and a pool of processes."""

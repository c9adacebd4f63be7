"""The stored crops: geometry, the set of all shards, random access to their pictures, right/left balance."""

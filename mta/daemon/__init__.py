"""The running program: one shard, its intake and its deliveries."""

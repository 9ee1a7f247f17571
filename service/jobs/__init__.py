"""Work in the background: queued in Redis, run by any replica, taken over from one that died, finished once."""

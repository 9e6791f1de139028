"""A training stage in processes of its own: launchers, nodes, and what happens when one of them dies.

The worker that has the job supervises. It writes an order into the job's folder and starts a launcher (torchrun,
deepspeed, accelerate), on every other node `harness node` does the same, and the launchers start the ranks. Each rank
is a pair: a guard, and the trainer that it forked. The guard holds a connection to the supervisor, over which it tells
what its trainer says and how it ends. When that connection breaks, each side knows at once that the other is gone.
"""

"""What a stage will need (memory, time, disk), reckoned from its declaration before anything heavy is imported."""

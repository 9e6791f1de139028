"""DeepSpeed configurations, by the name that `train.deepspeed` takes.

The batch, clipping and precision are "auto": the recipe decides them. So does it the optimiser and the schedule, which
therefore stand in none of these files.
"""

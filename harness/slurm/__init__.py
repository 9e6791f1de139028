"""Plans done by a SLURM cluster: every job submitted through submitit, after those that it stands on."""

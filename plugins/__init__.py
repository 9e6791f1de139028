"""Every method, data source and benchmark that ships with the harness: one small file each, as a third party would write it."""

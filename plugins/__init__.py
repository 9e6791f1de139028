"""Every method, data source and benchmark we ship: one small file each, as a third party would write it."""

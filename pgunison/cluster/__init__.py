"""What a cluster should be, what it is, and the steps from the one to the other."""

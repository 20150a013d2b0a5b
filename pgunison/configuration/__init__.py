"""What sysconfig.json may say, whether it is right, and what of it a cluster keeps for good."""

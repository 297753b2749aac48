"""Statistics on arrays: intervals, exact tests and corrections, without records and tables."""

"""The ground: what every room stands on. No torch in here."""

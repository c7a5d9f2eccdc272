"""Drivers: how the bench speaks to boards. `DRIVERS` is the whole list."""

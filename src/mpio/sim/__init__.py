"""Simulation: the engines, and the shells around them, in virtual time. One seed, one run."""

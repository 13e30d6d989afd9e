"""Holds a stack against what AWS would say, with no account: recorded, read by rules, applied to an emulator."""

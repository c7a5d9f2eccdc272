"""Facts about hardware. Imports nothing of ours.

board         Processor, Board, Link, System: the values everything else works with
catalog       load_board, load_medium, load_system; the catalog's figures with their sources
system_io     a System as JSON values and back
units         quantities with units
errors        what goes wrong

medium, schema, faults, use, yaml_tree, system_file, check: how files become checked values
"""

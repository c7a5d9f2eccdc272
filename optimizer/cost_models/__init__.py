"""Ways to come by a cost table.

base       the Protocol they share
roofline   from catalog figures alone: no board needed, good for a first look
profiled   from a profile of the whole model on the board (made by `hil profile`)
imported   from somebody else's table: CSV by layer, or JSON and CSV of ours
"""

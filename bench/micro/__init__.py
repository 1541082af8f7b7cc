"""Measurements that anybody can repeat: `make bench`, and what each module says in its first lines.

House rule: a figure is a ratio to a peer in the same run on the same machine, the runs of all contenders
interleaved, with the spread beside the median. No test holds a time; `tests/bench` holds what is counted.
"""

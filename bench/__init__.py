"""The load suite: `fitai bench` drives a server as its users would, `python -m fitai.bench.micro` measures
parts.

A figure that is quoted is a ratio to something else in the same run on the same machine, with its spread; a
run says of itself whether it is valid. No test holds a time.
"""

"""The local AWS: MiniStack in a process of its own, with what it lacks closed in `local_aws.shims`.

Real AWS is the target and this is its stand-in: nothing outside `local/` knows that it exists.
"""

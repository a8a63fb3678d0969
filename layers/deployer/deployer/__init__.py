"""What the functions share: decisions as plain values, one adapter per AWS service in `aws`.

Nothing in this package but `deployer.aws` knows boto3.
"""

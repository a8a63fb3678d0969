"""The operator's command, `deployer`, in `commands`; what sets an account up, in `setup`."""

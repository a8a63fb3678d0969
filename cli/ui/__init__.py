"""The page of `deployer ui`: a server on this machine, and the documents that it shows."""

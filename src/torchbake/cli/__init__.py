"""The command line, `torchbake COMMAND`."""

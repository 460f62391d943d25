"""What needs a server of object storage, which the tests start on this machine: `make test-scale`."""

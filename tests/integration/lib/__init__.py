"""What the integration and crash tests stand on: brokers, functions and sluice itself."""

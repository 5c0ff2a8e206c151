"""What looks at a request between the receiver and the log, inside the client's call."""

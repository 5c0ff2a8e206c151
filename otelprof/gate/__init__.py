"""The regression gate: runs of two versions against each other, with statistics that hold."""

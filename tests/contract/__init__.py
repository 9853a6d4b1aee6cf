"""The contract of shared/design.md section 5, point by point, as scenarios of the driver."""

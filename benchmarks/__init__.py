"""What the study costs against the procedure of the paper's scripts, side by side, equality of results first: `make bench`."""

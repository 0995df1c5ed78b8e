"""What the study costs against the procedure of the paper's scripts: `make bench`."""

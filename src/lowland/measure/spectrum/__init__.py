"""Curvature of the loss of trained runs: eigenvalues, trace and spectral density of Hessian and Gauss-Newton matrix."""

# SPDX-License-Identifier: BSD-3-Clause
"""What knows nothing of networks: checks, random streams, threads, files, text, PCA."""

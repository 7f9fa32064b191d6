# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of run_server.py: processes and their CPU time, servers under test, what is measured, the report."""

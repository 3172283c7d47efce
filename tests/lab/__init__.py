"""Test tare with KVM on a machine without KVM: run it in an emulated guest whose processor offers virtualization.

The lab tests functions, not speed: its processor is emulated, so its figures enter no verdict.
"""

"""The gpu_kernel objective's judge, harness and known ideas."""

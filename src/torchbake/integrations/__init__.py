"""BAKE in other trainers: one module for each, which needs that library.

>>> from torchbake.integrations.timm import BAKETask
>>> from torchbake.integrations.lightning import BAKECallback
>>> from torchbake.integrations.transformers import BAKETrainer
"""

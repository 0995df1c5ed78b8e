"""Attention for training on a CPU in bfloat16: plain products, with the padding mask inside the first of them.

The library's plain attention adds the mask to the scores (B, A, T, T), which makes them float32 and moves them through memory several
times. Here queries and keys get one more dimension, 1 in each query and the mask's value in each key, and the product itself adds
it; scores and probabilities stay in the precision around them. `make bench` measures it: beside the fused attention it halves a training
step's time; beside the plain one it gains nothing alone, and did gain where two jobs share the memory's bandwidth.
"""

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import flash_attention_mask

NAME = "plain_products"
FAR = -1e4  # what a padded key's score is lowered by: its probability is zero in float32 and in bfloat16


def attend(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **_):
    """((B, T, A, D) mixed values, None) of query, key and value (B, A, T, D), as the library calls it.

    `attention_mask` is (B, T), 0 at padding, or None where nothing is padded. A text must have at least one token.
    """
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        far = torch.zeros_like(key[:, :, :, :1]).masked_fill_(attention_mask[:, None, :, None] == 0, FAR)
        query, key = torch.cat([query, torch.ones_like(far)], -1), torch.cat([key, far], -1)
    shares = torch.matmul(query, key.transpose(2, 3)).softmax(-1)
    if dropout:
        shares = torch.nn.functional.dropout(shares, dropout, module.training)
    return torch.matmul(shares, value).transpose(1, 2), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, flash_attention_mask)  # the mask as it was given: one row a text, nothing where none is padded

"""Self-attention spelled out, one head at a time, as a reference for what attention processors do."""

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor


def attend_plainly(attn: Attention, own: Tensor, context: Tensor) -> Tensor:
    """What one row's tokens "L C" become when they attend to the tokens "M C" of `context`."""
    query, key, value = attn.to_q(own), attn.to_k(context), attn.to_v(context)
    head_dim = query.shape[-1] // attn.heads
    heads = []
    for start in range(0, query.shape[-1], head_dim):
        q, k, v = (x[:, start : start + head_dim] for x in (query, key, value))
        heads.append(torch.softmax(q @ k.T / head_dim**0.5, dim=-1) @ v)
    return attn.to_out[0](torch.cat(heads, dim=-1))

"""The known ideas of tinylm as another author would write them: other titles, other names, sometimes other code.

Imported by `idea_memory.py`. The titles are written by hand, in the way in which language models call such ideas. Of
the code, parameters, variables and everything an edit brings in have other names, layout and numbers are written
another way, and of some ideas the code is another that does the same.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.objective.edits import normalised

TITLES = {
    "Squared ReLU": "Use a squared ReLU activation (relu(x)^2)",
    "SwiGLU": "Replace the MLP by a SwiGLU gated MLP",
    "ReLU": "Plain ReLU in place of GELU",
    "SiLU": "Use SiLU (swish) as activation",
    "Normalise queries and keys": "QK-norm: RMS-normalize q and k before attention",
    "Value embeddings": "Add learned per-token value embeddings to attention values",
    "Eight heads": "Increase the number of attention heads to 8",
    "Two heads": "Reduce HEADS from 4 to 2",
    "Batch of 8": "Halve batch size to 8 for more optimizer steps",
    "Batch of 4": "Batch size 4",
    "Batch of 32": "Double the batch size to 32",
    "One layer": "Reduce depth to a single layer",
    "Three layers": "Increase DEPTH to 3",
    "Width 96": "Wider model: WIDTH = 96",
    "Width 48": "Narrower model (width 48)",
    "Half the MLP": "Shrink MLP expansion ratio from 4 to 2",
    "Normalise the embeddings": "RMSNorm right after the token embedding",
    "Tie embedding and head": "Weight tying between the input embedding and the output head",
    "Each block sees the embedding again": "Learned residual of the initial embedding x0 into every block",
    "Mix each byte's embedding with the one before": "Previous-token mixing (learned) of the embeddings",
    "LeCun initialisation, embeddings 0.02": "LeCun-normal init for linear layers and std 0.02 for embeddings",
    "Xavier initialisation, embeddings 0.02": "Xavier/Glorot normal init with 0.02 embedding std",
    "Kaiming initialisation, embeddings 0.02": "He (Kaiming) init for linears, embeddings N(0, 0.02)",
    "Every weight N(0, 0.02)": "GPT-2 style INIT_STD = 0.02",
    "Every weight N(0, 0.1)": "Lower INIT_STD from 0.3 to 0.1",
    "Kaiming initialisation of linear layers only": "He initialization for Linear weights only",
    "Kaiming initialisation of every matrix": "Kaiming init for linear layers and embeddings alike",
    "PyTorch's default initialisation": "Fall back to the default PyTorch init (reset_parameters)",
    "Zero the projections that write to the residual stream": "Zero-init residual output projections",
    "Zero the head": "Zero-initialise the output head",
    "Every weight N(0, 0.2)": "INIT_STD 0.2",
    "Every weight N(0, 0.5)": "INIT_STD 0.5",
    "Every weight N(0, 1)": "Unit-variance init of all weights",
    "Learning rate 3e-3": "Raise LR to 3e-3",
    "Learning rate 4e-3": "Higher learning rate: 0.004",
    "Learning rate 8e-3": "LR = 8e-3 for fast early progress",
    "Learning rate 2e-3": "Double the learning rate to 2e-3",
    "Learning rate 5e-4": "Halve the learning rate (5e-4)",
    "Normalise after the residual sum (post-norm)": "Post-LN blocks instead of pre-LN",
    "RMSNorm instead of LayerNorm": "Switch LayerNorm to RMSNorm",
    "Normalise the output of each branch too": "Sandwich norm: RMS-normalise each branch's output",
    "Muon for the blocks' matrices": "Muon optimizer for hidden 2-D weights, AdamW for the rest",
    "Second moment over 20 steps (beta2 0.95)": "Lower Adam beta2 to 0.95",
    "Betas 0.8 and 0.95": "Adam betas (0.8, 0.95)",
    "Clip gradients to norm 1": "Gradient clipping at max-norm 1.0",
    "Five times the learning rate for embeddings": "5x higher LR on the embedding tables",
    "SGD with momentum 0.9": "Use SGD + momentum instead of AdamW",
    "Average the weights (EMA 0.98)": "Exponential moving average of weights, decay 0.98",
    "Rotary positions, base 10000": "RoPE (theta = 10000) instead of learned positions",
    "Rotary positions, base 100": "RoPE with a small base of 100",
    "No positions at all": "Remove positional embeddings (NoPE)",
    "Rotary base 100 instead of 10000": "Lower the RoPE base from 10000 to 100",
    "Weight decay 0.1": "Stronger weight decay: 0.1",
    "No weight decay": "Disable weight decay",
    "Soft cap on logits at 15": "Logit soft-capping with tanh at 15",
    "Penalise the log of the partition function": "z-loss regularization on logsumexp",
    "Constant, then linear decay over the last 40 %": "WSD schedule: linear cooldown in the last 40% of training",
    "Warm up over the first 5 %": "Short linear LR warmup (5% of the budget)",
    "Warm-up and cosine decay": "Cosine LR schedule with warmup",
    "Linear decay to zero": "Linearly decay the LR to 0",
    "No biases in attention and MLP": "Drop bias terms in attention and MLP linears",
    "Norms without weights": "Parameter-free norms (no affine)",
    "No final norm": "Remove the last LayerNorm before the head",
}
# Code that does the same in other words: what stands in the child, and what stands there instead.
OTHER_CODE = {
    "Squared ReLU": ("F.relu(x).square()", "torch.pow(torch.relu(x), 2)"),
    "ReLU": ("F.relu(x)", "torch.relu(x)"),
    "SiLU": ("F.silu(x)", "x * torch.sigmoid(x)"),
    "RMSNorm instead of LayerNorm": ("nn.RMSNorm(width)", "nn.RMSNorm(width, eps=1e-6)"),
    "Zero the head": ("nn.init.zeros_(model.head.weight)", "model.head.weight.data.zero_()"),
    "Clip gradients to norm 1": (
        "nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        "torch.nn.utils.clip_grad_norm_(list(model.parameters()), max_norm=1.0)",
    ),
    "LeCun initialisation, embeddings 0.02": (
        "nn.init.normal_(linear.weight, 0.0, linear.in_features**-0.5)",
        "nn.init.normal_(linear.weight, mean=0.0, std=1.0 / linear.in_features ** 0.5)",
    ),
    "Normalise the embeddings": ("F.rms_norm(x, (x.size(-1),))", "F.rms_norm(x, x.shape[-1:])"),
}


def in_other_words(title: str, parent: str, child: str, prefix: str = "my") -> str:
    """The source of an idea as another author would write it. prefix: of that author's names."""
    if title in OTHER_CODE and child.count(OTHER_CODE[title][0]) == 1:
        child = child.replace(*OTHER_CODE[title])
    known = {node.name for node in ast.walk(ast.parse(parent)) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    known |= {node.id for node in ast.walk(ast.parse(parent)) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(ast.parse(parent)) if isinstance(node, ast.Attribute)}
    before = {ast.dump(node) for node in normalised(parent).body}
    parts = []
    for node in normalised(child).body:
        if ast.dump(node) not in before:
            node = _Renamed(known, attributes, prefix).visit(node)
        parts.append(ast.unparse(ast.fix_missing_locations(node)))
    return "\n\n\n".join(parts) + "\n"


class _Renamed(ast.NodeTransformer):
    """Gives what an edit may call as it likes other names."""

    def __init__(self, known: set[str], attributes: set[str], prefix: str) -> None:
        self._prefix = prefix
        self._known = known
        self._attributes = attributes
        self._local: frozenset[str] = frozenset()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        outer = self._local
        stored = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
        self._local = outer | stored | {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)} - {"self"}
        node.name = self._other(node.name)
        self.generic_visit(node)
        self._local = outer
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._other(node.name)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = f"{self._prefix}_{node.arg}" if node.arg in self._local else node.arg
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = f"{self._prefix}_{node.id}" if node.id in self._local else self._other(node.id)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        its_own = isinstance(node.value, ast.Name) and node.value.id == "self"
        if its_own and node.attr not in self._attributes:
            node.attr = f"{self._prefix}_{node.attr}"
        return node

    def _other(self, name: str) -> str:
        return name if name in self._known or hasattr(builtins, name) else f"{self._prefix}_{name}"


def as_edits(parent: str, child: str) -> list[dict[str, str]]:
    """One search and replace that makes the child of the parent, as a model would answer."""
    before, after = parent.split("\n"), child.split("\n")
    opcodes = [code for code in difflib.SequenceMatcher(None, before, after, False).get_opcodes() if code[0] != "equal"]
    first, last = opcodes[0][1], max(code[2] for code in opcodes)
    begin, end = opcodes[0][3], max(code[4] for code in opcodes)
    while parent.count("\n".join(before[first:last])) != 1 or first == last:
        first, last, begin, end = max(0, first - 1), min(len(before), last + 1), max(0, begin - 1), end + 1
    return [{"search": "\n".join(before[first:last]), "replace": "\n".join(after[begin : min(len(after), end)])}]

"""The one file to edit: a dot product in plain Python."""

KERNEL_TYPE = "dot"


def kernel_fn(a, b):
    total = 0.0
    for index in range(len(a)):
        row = [a[index], b[index]]
        for position in range(1):
            total = total + row[position] * row[position + 1]
    return total

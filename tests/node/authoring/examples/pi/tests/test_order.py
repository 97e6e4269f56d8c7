import sys

sys.path.insert(0, "src")
from join import joined
from order import ordered

assert ordered([3, 1, 2, 2]) == [1, 2, 2, 3]
assert joined([1, 4], [2, 3]) == [1, 2, 3, 4]

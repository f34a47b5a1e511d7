"""`ragstream demo`: a short story on real content, told by the product itself on embedded parts."""

from ragstream.demo.run import run_demo

__all__ = ["run_demo"]

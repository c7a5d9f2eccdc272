"""The wire between the bench and its boards, normative text in PROTOCOL.md. Standard library only."""

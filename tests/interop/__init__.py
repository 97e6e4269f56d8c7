"""Another client, in JavaScript and written from protocol/README.md, talks to a real node."""

"""SQS's messages, kept as AWS documents it: order, groups, visibility, deduplication, dead letters."""

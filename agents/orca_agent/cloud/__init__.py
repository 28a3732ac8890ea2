"""The few calls of AWS that the agent makes, on the standard library alone.

An instance has whatever Python its image has: today's botocore no longer runs on the 3.9 of Amazon Linux
2023, costs 25 MB of memory and twice the time of a call. What is needed here is small: signed requests on
kept-alive connections (`signing`, `transport`, `client`), credentials of the instance's role (`metadata`),
seven calls of S3 (`bucket`), five of SQS (`queue`), one of Secrets Manager (`secrets`). The tests hold signatures and
endpoints against botocore's own.
"""

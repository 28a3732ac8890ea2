"""What is read out of Terraform's state by hand."""

from __future__ import annotations

from typing import Any

from portal.gateways.terraform_state import tainted_in


def test_what_was_half_made_is_found_by_its_address() -> None:
    whole: dict[str, Any] = {"attributes": {}}
    half: dict[str, Any] = {"status": "tainted", "attributes": {}}
    state = {
        "version": 4,
        "resources": [
            {"module": "module.storage", "type": "aws_s3_bucket", "name": "this", "instances": [half]},
            {"module": "module.storage", "type": "aws_s3_object", "name": "one", "instances": [whole]},
            {
                "module": "module.compute[0]",
                "type": "aws_instance",
                "name": "this",
                "instances": [{"index_key": 0, **whole}, {"index_key": 1, **half}],
            },
            {"type": "aws_x", "name": "rule", "instances": [{"index_key": "0.0.0.0/0", **half}]},
        ],
    }
    assert tainted_in(state) == [
        "module.storage.aws_s3_bucket.this",
        "module.compute[0].aws_instance.this[1]",
        'aws_x.rule["0.0.0.0/0"]',
    ]
    assert tainted_in({"version": 4}) == []

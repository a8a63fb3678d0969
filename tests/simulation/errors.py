"""How AWS refuses."""

from typing import Any


class AwsError(Exception):
    """An error answer of AWS: its code, message, HTTP status and further members."""

    def __init__(self, code: str, message: str = "", status: int = 400, **members: Any) -> None:
        super().__init__(code, message)
        self.code, self.message, self.status, self.members = code, message, status, members

    @property
    def parsed(self) -> dict[str, Any]:
        return {
            "Error": {"Code": self.code, "Message": self.message},
            "ResponseMetadata": {"HTTPStatusCode": self.status},
            **self.members,
        }

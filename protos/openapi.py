"""The public contract as OpenAPI 3.1, from its descriptors and the comments beside them.

`generate.py` writes it to `protos/gen/horde/api/openapi.json`, which the web door serves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from google.api.annotations_pb2 import http
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

Json = dict[str, Any]
Field = FieldDescriptorProto
WELL_KNOWN: dict[str, Json] = {
    ".google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    ".google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d{1,9})?s$"},
    ".google.protobuf.FieldMask": {"type": "string", "description": "Paths of fields, by commas."},
    ".google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}},
}
SCALARS: dict[int, Json] = {
    Field.TYPE_BOOL: {"type": "boolean"},
    Field.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    Field.TYPE_DOUBLE: {"type": "number", "format": "double"},
    Field.TYPE_FLOAT: {"type": "number", "format": "float"},
    Field.TYPE_INT32: {"type": "integer", "format": "int32"},
    Field.TYPE_INT64: {"type": ["string", "integer"], "format": "int64"},
    Field.TYPE_STRING: {"type": "string"},
    Field.TYPE_UINT32: {"type": "integer", "minimum": 0},
    Field.TYPE_UINT64: {"type": ["string", "integer"], "format": "uint64"},
}
PROBLEM: Json = {
    "type": "object",
    "description": "An error (RFC 9457). Programs decide on `reason`, and on `code` where they do not know it.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For people."},
        "code": {"type": "string", "description": "gRPC's status code, such as `NOT_FOUND`."},
        "reason": {"type": "string", "description": "A value of an `…ErrorReason`, without its prefix."},
        "domain": {"type": "string", "description": "The package of the reason, or `mesh`."},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "field_violations": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
            },
        },
        "retry_delay": {"type": "string", "description": "How long to wait, such as `2s`."},
    },
}
REFUSED: Json = {
    "description": "It is refused.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
PICTURE: Json = {
    "description": "The bytes.",
    "content": {
        kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("image/webp", "image/png", "image/jpeg")
    },
}
SECURITY: Json = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a shared key."},
    "other": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Anonymous <32 hex digits>`, or `Pass <UUID>`.",
    },
}


def _path_parameter(name: str, description: str = "") -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": description}


BYTES: dict[str, Json] = {
    "/v1/generations/{generation_id}/images/{job_id}": {
        "get": {
            "operationId": "Bytes_GetImage",
            "tags": ["Bytes"],
            "summary": "The bytes of an image of the caller's own; `Range`, `ETag` and `If-None-Match` are understood.",
            "parameters": [_path_parameter("generation_id"), _path_parameter("job_id")],
            "responses": {"200": PICTURE, "206": PICTURE, "304": {"description": "As known."}, "default": REFUSED},
        }
    },
    "/v1/images/{ticket}": {
        "get": {
            "operationId": "Bytes_GetImageByTicket",
            "tags": ["Bytes"],
            "summary": "The same by `download.ticket` of an image, which needs no header.",
            "parameters": [_path_parameter("ticket")],
            "responses": {"200": PICTURE, "206": PICTURE, "304": {"description": "As known."}, "default": REFUSED},
            "security": [{}],
        }
    },
    "/v1/inputs/{input_id}": {
        "put": {
            "operationId": "Bytes_PutInput",
            "tags": ["Bytes"],
            "summary": "Puts a source image, a mask or a control image, as the body or as the one file of a form.",
            "parameters": [_path_parameter("input_id", "A UUID, made by the client.")],
            "requestBody": {
                "required": True,
                "content": {
                    "image/*": {"schema": {"type": "string", "format": "binary"}},
                    "multipart/form-data": {
                        "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
                    },
                },
            },
            "responses": {
                "200": {
                    "description": "It is stored.",
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/horde.api.storage.v1.PutInputResponse"}
                        }
                    },
                },
                "default": REFUSED,
            },
        }
    },
}
"""What the door serves beside the contract's RPCs: bytes, which are no JSON."""


class Contract:
    """The files of the contract, by the names of what they hold."""

    def __init__(self, files: FileDescriptorSet) -> None:
        self.files = [file for file in files.file if file.package.startswith("horde.api.")]
        self.messages: dict[str, DescriptorProto] = {}
        self.enums: dict[str, EnumDescriptorProto] = {}
        self.comments: dict[str, str] = {}
        for file in files.file:
            self._index(file)

    def _index(self, file: FileDescriptorProto) -> None:
        comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        root = f".{file.package}"
        for number, message in enumerate(file.message_type):
            self._index_message(message, f"{root}.{message.name}", (4, number), comments)
        for number, enum in enumerate(file.enum_type):
            self._index_enum(enum, f"{root}.{enum.name}", (5, number), comments)
        for number, service in enumerate(file.service):
            self.comments[f"{root}.{service.name}"] = comments.get((6, number), "")
            for index, method in enumerate(service.method):
                self.comments[f"{root}.{service.name}.{method.name}"] = comments.get((6, number, 2, index), "")

    def _index_message(
        self, message: DescriptorProto, name: str, path: tuple[int, ...], comments: dict[tuple[int, ...], str]
    ) -> None:
        self.messages[name] = message
        self.comments[name] = comments.get(path, "")
        for index, field in enumerate(message.field):
            self.comments[f"{name}.{field.name}"] = comments.get((*path, 2, index), "")
        for index, inner in enumerate(message.nested_type):
            self._index_message(inner, f"{name}.{inner.name}", (*path, 3, index), comments)
        for index, enum in enumerate(message.enum_type):
            self._index_enum(enum, f"{name}.{enum.name}", (*path, 4, index), comments)

    def _index_enum(
        self, enum: EnumDescriptorProto, name: str, path: tuple[int, ...], comments: dict[tuple[int, ...], str]
    ) -> None:
        self.enums[name] = enum
        self.comments[name] = comments.get(path, "")
        for index, value in enumerate(enum.value):
            self.comments[f"{name}.{value.name}"] = comments.get((*path, 2, index), "")

    def text(self, name: str) -> str:
        """The comment of something, as Markdown."""
        return "\n".join(line.removeprefix(" ") for line in self.comments.get(name, "").splitlines()).strip()


class Document:
    """The OpenAPI document of a contract."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._schemas: dict[str, Json] = {"Problem": PROBLEM}

    def build(self) -> Json:
        """The whole document."""
        paths: dict[str, Json] = {}
        tags = []
        for file in self._contract.files:
            for service in file.service:
                operations = list(self._operations(file, service))
                for path, verb, operation in operations:
                    paths.setdefault(path, {})[verb] = operation
                if operations:
                    tags.append(
                        {"name": service.name, "description": self._contract.text(f".{file.package}.{service.name}")}
                    )
        for path, item in BYTES.items():
            paths.setdefault(path, {}).update(item)
        self._ref(".horde.api.storage.v1.PutInputResponse")
        for name in sorted(self._contract.enums):
            if name.endswith("ErrorReason"):
                self._ref(name)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Horde Mesh",
                "version": "1",
                "summary": "A crowdsourced image generator.",
                "description": "Generated from the contract in `protos/horde/api`; its comments are the documentation.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{"bearer": []}, {"other": []}],
            "tags": [*tags, {"name": "Bytes", "description": "Images out, inputs in."}],
            "paths": dict(sorted(paths.items())),
            "components": {"schemas": dict(sorted(self._schemas.items())), "securitySchemes": SECURITY},
        }

    def _operations(
        self, file: FileDescriptorProto, service: ServiceDescriptorProto
    ) -> Iterator[tuple[str, str, Json]]:
        for method in service.method:
            if not method.options.HasExtension(http):
                continue
            rule = method.options.Extensions[http]
            for number, binding in enumerate((rule, *rule.additional_bindings)):
                verb = binding.WhichOneof("pattern")
                template = getattr(binding, verb)
                path = re.sub(r"=[^}]+\}", "}", template)
                name = f".{file.package}.{service.name}.{method.name}"
                operation = self._operation(method, path, binding.body, self._contract.text(name))
                operation["operationId"] = f"{service.name}_{method.name}{f'_{number}' if number else ''}"
                operation["tags"] = [service.name]
                yield path, verb, operation

    def _operation(self, method: MethodDescriptorProto, path: str, body: str, text: str) -> Json:
        in_path = re.findall(r"\{([^}]+)\}", path)
        request = self._contract.messages[method.input_type]
        operation: Json = {
            "summary": re.split(r"(?<=\.)\s", text.replace("\n", " "), maxsplit=1)[0],
            "description": text,
            "parameters": [
                _path_parameter(name, self._contract.text(f"{method.input_type}.{name}")) for name in in_path
            ],
        }
        if body:
            schema = (
                self._object(method.input_type, without=in_path)
                if body == "*"
                else self._value(method.input_type, next(field for field in request.field if field.name == body))
            )
            if body == "*" and not in_path:
                schema = self._ref(method.input_type)
            operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        else:
            operation["parameters"] += [
                {
                    "name": field.name,
                    "in": "query",
                    "schema": self._value(method.input_type, field),
                    "description": self._contract.text(f"{method.input_type}.{field.name}"),
                }
                for field in request.field
                if field.name not in in_path
            ]
        operation["responses"] = {"200": self._answer(method), "default": REFUSED}
        return operation

    def _answer(self, method: MethodDescriptorProto) -> Json:
        schema = self._ref(method.output_type)
        if method.server_streaming:
            text = "Server-sent events: `event` is the one member of `data`, which is in JSON; `id` is its version."
            return {
                "description": text,
                "content": {
                    "text/event-stream": {
                        "schema": {"type": "string", "contentSchema": schema, "contentMediaType": "application/json"}
                    }
                },
            }
        return {"description": "It is done.", "content": {"application/json": {"schema": schema}}}

    def _ref(self, name: str) -> Json:
        key = name.removeprefix(".")
        if key not in self._schemas:
            self._schemas[key] = {}
            self._schemas[key] = self._enum(name) if name in self._contract.enums else self._object(name)
        return {"$ref": f"#/components/schemas/{key}"}

    def _enum(self, name: str) -> Json:
        values = self._contract.enums[name].value
        texts = {value.name: " ".join(self._contract.text(f"{name}.{value.name}").split()) for value in values}
        lines = [self._contract.text(name), *(f"- `{value}`: {text}" for value, text in texts.items() if text)]
        return {
            "type": "string",
            "description": "\n".join(line for line in lines if line),
            "enum": list(texts),
        }

    def _object(self, name: str, without: Iterable[str] = ()) -> Json:
        message = self._contract.messages[name]
        properties: dict[str, Json] = {}
        for field in message.field:
            if field.name in without:
                continue
            schema = self._value(name, field)
            if text := self._contract.text(f"{name}.{field.name}"):
                schema = {**schema, "description": text}
            properties[field.name] = schema
        lines = [self._contract.text(name)]
        for index, oneof in enumerate(message.oneof_decl):
            names = [
                field.name for field in message.field if field.HasField("oneof_index") and field.oneof_index == index
            ]
            if len(names) > 1:
                lines.append(f"`{oneof.name}`: one of {', '.join(f'`{name}`' for name in names)} at most.")
        return {"type": "object", "description": "\n\n".join(line for line in lines if line), "properties": properties}

    def _value(self, message: str, field: Field) -> Json:
        if field.type == Field.TYPE_MESSAGE and field.type_name in self._contract.messages:
            entry = self._contract.messages[field.type_name]
            if entry.options.map_entry:
                return {"type": "object", "additionalProperties": self._value(field.type_name, entry.field[1])}
        if field.type_name in WELL_KNOWN:
            schema = WELL_KNOWN[field.type_name]
        elif field.type in (Field.TYPE_MESSAGE, Field.TYPE_ENUM):
            schema = self._ref(field.type_name)
        else:
            schema = SCALARS[field.type]
        return {"type": "array", "items": schema} if field.label == Field.LABEL_REPEATED else schema


def openapi(files: FileDescriptorSet) -> Json:
    """The document of the public contract, whose descriptors carry their comments."""
    return Document(Contract(files)).build()

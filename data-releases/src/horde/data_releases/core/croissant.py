"""The release described in Croissant (MLCommons, JSON-LD): its files with their hashes, and its columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from horde.data_releases.core import layout
from horde.data_releases.core.columns import COLUMNS, Column
from horde.data_releases.core.plan import Plan

_CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES: Final = {
    "bool": "sc:Boolean",
    "int32": "sc:Integer",
    "int64": "sc:Integer",
    "float64": "sc:Float",
    "timestamp[ms, tz=UTC]": "sc:DateTime",
}
_PARQUET: Final = "application/x-parquet"


def write_croissant(plan: Plan, statistics: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """The description, as plain data."""
    tables = [name for name in (layout.METADATA, layout.RATINGS, layout.REMOVED) if name in digests]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"horde-mesh-shared-{plan.release_id}",
        "description": f"{statistics['images']} pictures painted from text, shared for research.",
        "license": "https://creativecommons.org/publicdomain/zero/1.0/",
        "url": "https://horde-mesh.example/releases",
        "version": "1.0.0",
        "datePublished": plan.as_of.date().isoformat(),
        "rai:dataCollection": "Asked for through the mesh, by people who shared the pictures for research.",
        "rai:personalSensitiveInformation": "Prompts may hold some; those with contact data are left out or marked.",
        "distribution": [
            *(
                {
                    "@type": "cr:FileObject",
                    "@id": name,
                    "name": name,
                    "contentUrl": name,
                    "encodingFormat": _PARQUET,
                    "sha256": digests[name],
                }
                for name in tables
            ),
            *(
                {
                    "@type": "cr:FileObject",
                    "@id": name,
                    "name": name,
                    "contentUrl": name,
                    "encodingFormat": "application/x-tar",
                    "sha256": digest,
                }
                for name, digest in sorted(digests.items())
                if name.endswith(".tar")
            ),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "images",
                "name": "images",
                "key": {"@id": "images/id"},
                "field": [
                    _field(column) for column in COLUMNS if not column.kind.startswith(("list<struct", "struct"))
                ],
            }
        ],
    }


def _field(column: Column) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"images/{column.name}",
        "name": column.name,
        "description": column.meaning + (f" ({column.unit})" if column.unit else ""),
        "dataType": _TYPES.get(column.kind, "sc:Text"),
        "source": {"fileObject": {"@id": layout.METADATA}, "extract": {"column": column.name}},
    }
    if column.kind.startswith("list<"):
        field["repeated"] = True
    return field

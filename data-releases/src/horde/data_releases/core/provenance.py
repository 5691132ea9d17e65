"""What a released file says of its own making, in XMP: what was asked for, who agreed to what, and what is allowed."""

from __future__ import annotations

import json
import re
from typing import Final
from xml.sax.saxutils import escape

from horde.data_releases.core.columns import LICENCE, TRAINING_MINING
from horde.data_releases.core.records import SharedRecord

MAX_XMP: Final = 60_000
"""Bytes. Where it would be more, the long texts are left out: they stand beside the image anyway."""
_CONTROL: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PACKET: Final = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/"
 xmlns:horde="https://horde-mesh.example/ns/1.0/"
 xmp:CreatorTool="Horde Mesh"
 xmpRights:Marked="False"
 xmpRights:WebStatement="https://creativecommons.org/publicdomain/zero/1.0/"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
 plus:DataMining="http://ns.useplus.org/ldf/vocab/DMI-ALLOWED"
 horde:id="{id}"
 horde:sourceSha256="{sha256}"
 horde:licence="{licence}">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{prompt}</rdf:li></rdf:Alt></dc:description>
<horde:made>{made}</horde:made>
<horde:consent>{consent}</horde:consent>
<horde:trainingMining>{mining}</horde:trainingMining>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def make_xmp(record: SharedRecord) -> bytes:
    """The XMP packet. Names nobody: the consent by its class, its text's version and its hour."""
    packet = _xmp(record, whole=True)
    return packet if len(packet) <= MAX_XMP else _xmp(record, whole=False)


def _xmp(record: SharedRecord, *, whole: bool) -> bytes:
    made = {
        "model": record.model,
        **{name: value for name, value in record.image.items() if whole or ("prompt" not in name and name != "loras")},
        **({"deviations": list(record.deviations)} if whole else {}),
    }
    consent = {
        "who_class": record.consent.who_class,
        "text_version": record.consent.text_version,
        "how": record.consent.how,
        "hour": record.consent.when.strftime("%Y-%m-%dT%H"),
    }
    return _PACKET.format(
        id=_xml(record.id),
        sha256=_xml(record.sha256),
        licence=LICENCE,
        prompt=_xml(record.prompt if whole else record.prompt[:1000]),
        made=_xml(_json(made)),
        consent=_xml(_json(consent)),
        mining=_xml(_json(TRAINING_MINING)),
    ).encode()


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _xml(text: str) -> str:
    return escape(_CONTROL.sub(" ", text), {'"': "&quot;"})

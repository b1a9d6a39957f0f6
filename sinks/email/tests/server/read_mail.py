"""Reads the mails of a Maildir as a mail client does, and prints what it found as JSON: one object a mail, by arrival."""

import email
import email.policy
import html.parser
import json
import pathlib
import sys


class Page(html.parser.HTMLParser):
    """Rows of the table of facts, tags that are there, and the attributes that fetch or lead somewhere."""

    def __init__(self):
        super().__init__()
        self.tags, self.leads, self.rows, self.cell, self.text, self.hidden = set(), [], [], None, [], 0

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.leads += [f"{name}={value}" for name, value in attrs if name in ("href", "src", "background", "action") or name.startswith("on")]
        if tag in ("style", "title"):
            self.hidden += 1
        if tag == "th":
            self.rows.append(["", ""])
            self.cell = 0
        if tag == "td" and self.cell == 0:
            self.cell = 1

    def handle_endtag(self, tag):
        if tag in ("style", "title"):
            self.hidden -= 1
        if tag == "tr":
            self.cell = None

    def handle_data(self, data):
        if self.hidden:
            return
        self.text.append(data)
        if self.cell is not None:
            self.rows[-1][self.cell] += data.strip("\n")


def read(path):
    raw = path.read_bytes()
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    parts = [part for part in mail.walk() if not part.is_multipart()]
    bodies = {part.get_content_type(): part.get_content() for part in parts}
    page = Page()
    page.feed(bodies.get("text/html", ""))
    return {
        "headers": [[name, str(value)] for name, value in mail.items()],
        "type": mail.get_content_type(),
        "parts": [[part.get_content_type(), part["content-transfer-encoding"], part.get_content_charset()] for part in parts],
        "defects": [str(defect) for part in mail.walk() for defect in part.defects],
        "text": bodies.get("text/plain", ""),
        "rows": page.rows,
        "shown": "".join(page.text),
        "tags": sorted(page.tags),
        "leads": page.leads,
        "longest_line": max(len(line) for line in raw.splitlines()),
        "ascii": raw.isascii(),
    }


folder = pathlib.Path(sys.argv[1])
json.dump([read(path) for path in sorted((folder / "new").iterdir(), key=lambda path: path.stat().st_mtime_ns)], sys.stdout)

"""A browser without a screen: it reads pages, and follows links."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx

AIRFLOW = "http://airflow.test"
_VOID = ("meta", "link", "img", "input", "br")
_SEPARATE = ("br", "td", "th", "dt", "dd", "li", "p", "h2")


@dataclass
class Element:
    """An element of a page, with the text in it."""

    tag: str
    attributes: dict[str, str]
    section: str
    """The text of the last heading before it."""
    text: str = ""
    holds: set[str] = field(default_factory=set)
    """The kinds of elements inside."""


@dataclass
class Page:
    """What a person, or a browser, sees of an answer."""

    response: httpx.Response
    elements: list[Element] = field(default_factory=list)

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def text(self) -> str:
        return " ".join(self.all("body")[0].text.split())

    def all(self, tag: str, section: str = "") -> list[Element]:
        """The elements of a kind, on the whole page or after a heading that begins so."""
        return [
            element for element in self.elements if element.tag == tag and element.section.startswith(section)
        ]

    def rows(self, section: str) -> list[str]:
        """The rows of the tables after a heading, without those of headings."""
        return [" ".join(row.text.split()) for row in self.all("tr", section) if "td" in row.holds]

    def link(self, text: str) -> str:
        """Where the link of this text leads."""
        (target,) = {element.attributes["href"] for element in self.all("a") if element.text.strip() == text}
        return target

    @property
    def links(self) -> set[str]:
        """Where all links lead, without the place on the page."""
        return {element.attributes["href"].partition("#")[0] for element in self.all("a")}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self._section = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self._section)
        self.elements.append(element)
        for outer in self._open:
            outer.holds.add(tag)
        if tag in _SEPARATE:
            self.handle_data(" ")
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            element = self._open.pop()
            if element.tag in ("h1", "h2"):
                self._section = element.text.strip()
            if element.tag == tag:
                return
        raise AssertionError(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


class Browser:
    """Looks at the pages where Airflow mounts them."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(urljoin("/toros/", path), headers=headers)

    async def read(self, path: str) -> Page:
        response = await self.get(path)
        reader = _Reader()
        reader.feed(response.text)
        reader.close()
        return Page(response, reader.elements)

    async def crawl(self, *starts: str) -> dict[str, Page]:
        """Every page of ours that can be reached, by its path."""
        seen: dict[str, Page] = {}
        waiting = list(starts)
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen[path] = page = await self.read(path)
            if page.response.headers["content-type"].startswith("text/html"):
                waiting += [link for link in page.links if link.startswith("/toros/")]
        return seen
